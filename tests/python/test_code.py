"""Where code comes from and goes to: archives, downloads, S3, limits."""

import io
import urllib.request
import zipfile

import pytest
from support.functions import PYTHON, ROLE, SOURCES, Functions, archive, error_of, folder, probe, unique

PYTHON_MAIN = {"Runtime": PYTHON, "Handler": "main.handler"}


def download(location):
    with urllib.request.urlopen(location, timeout=20) as response:
        return response.read()


def test_the_download_is_what_was_uploaded(client, functions):
    code = probe()
    name = functions.create(code, Runtime=PYTHON, Handler="probe.handler")
    answer = client.get_function(FunctionName=name)["Code"]
    assert answer["RepositoryType"] == "S3"
    assert download(answer["Location"]) == code


def test_each_version_has_its_own_download(client, functions):
    one, two = (archive({"main.py": f"handler = lambda event, context: {number}"}) for number in (1, 2))
    name = functions.create(one, **PYTHON_MAIN)
    client.publish_version(FunctionName=name)
    client.update_function_code(FunctionName=name, ZipFile=two)
    functions.wait_updated(name)
    assert download(client.get_function(FunctionName=name, Qualifier="1")["Code"]["Location"]) == one
    assert download(client.get_function(FunctionName=name)["Code"]["Location"]) == two


def test_modules_in_folders_and_data_files_are_there(functions):
    files = {
        "app/__init__.py": "",
        "app/main.py": "import os\n\ndef handler(event, context):\n    return open('data/text').read()\n",
        "data/text": "from a file",
    }
    name = functions.create(files, Runtime=PYTHON, Handler="app/main.handler")
    assert functions.invoke(name).value() == "from a file"


@pytest.mark.parametrize("entry", ["../outside.py", "/absolute.py", "a/../../b.py"])
def test_entries_that_leave_the_folder_do_no_harm(client, functions, entry):
    """AWS does not document its answer; ours is to refuse the archive, or to leave the entry out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr(
            "main.py", "import os\nhandler = lambda event, context: sorted(os.listdir('/var/task'))\n"
        )
        bundle.writestr(entry, "")
    try:
        name = functions.create(buffer.getvalue(), **PYTHON_MAIN)
    except client.exceptions.InvalidParameterValueException as error:
        assert error.response["Error"]["Message"] == (
            "Could not unzip uploaded file. Please check your file, then try to upload again."
        )
    else:
        assert "main.py" in functions.invoke(name).value()


def test_code_that_is_too_large_when_unpacked(client):
    large = archive({"main.py": "", "zeros": bytes(262144001)})
    failure = error_of(
        client.create_function, FunctionName=unique(), Role=ROLE, Code={"ZipFile": large}, **PYTHON_MAIN
    )
    assert tuple(failure) == (
        "InvalidParameterValueException",
        400,
        "Unzipped size must be smaller than 262144000 bytes",
    )


def test_an_archive_over_50_mb_is_refused(client):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as bundle:
        bundle.writestr("main.py", "")
        bundle.writestr("zeros", bytes(52428801))
    failure = error_of(
        client.create_function,
        FunctionName=unique(),
        Role=ROLE,
        Code={"ZipFile": buffer.getvalue()},
        **PYTHON_MAIN,
    )
    # What the client sees depends on which limit it meets first: the request's (its base64 is 70 MB) or the archive's.
    assert failure.status == 413
    assert failure.message in (
        "Zipped size must be smaller than 52428800 bytes",
        "Request must be smaller than 70167211 bytes for the CreateFunction operation",
    )


def test_executable_bits_are_kept(functions):
    files = {
        "main.py": "import os\nhandler = lambda event, context: [os.access(f, os.X_OK) for f in ('tool', 'main.py')]\n",
        "tool!": "#!/bin/sh\n",
    }
    name = functions.create(files, **PYTHON_MAIN)
    assert functions.invoke(name).value()[0] is True


@pytest.fixture
def companion_functions(with_companion):
    functions = Functions(with_companion.client())
    yield functions
    functions.clean()


def test_code_comes_from_s3(with_companion, companion_functions):
    s3 = with_companion.client("s3", s3={"addressing_style": "path"})
    s3.create_bucket(Bucket="code")
    s3.put_object(Bucket="code", Key="function.zip", Body=archive(folder(SOURCES / "python-probe")))
    name = unique()
    companion_functions.made.append(name)
    companion_functions.client.create_function(
        FunctionName=name,
        Role=ROLE,
        Runtime=PYTHON,
        Handler="probe.handler",
        Code={"S3Bucket": "code", "S3Key": "function.zip"},
    )
    companion_functions.wait_active(name)
    assert companion_functions.invoke(name, [1]).value() == [1]

    s3.put_object(
        Bucket="code", Key="second.zip", Body=archive({"probe.py": "handler = lambda event, context: 2"})
    )
    companion_functions.client.update_function_code(FunctionName=name, S3Bucket="code", S3Key="second.zip")
    companion_functions.wait_updated(name)
    assert companion_functions.invoke(name).value() == 2


def test_missing_buckets_and_keys(with_companion):
    client = with_companion.client()
    with_companion.client("s3", s3={"addressing_style": "path"}).create_bucket(Bucket="empty")
    message = "Error occurred while GetObject. S3 Error Code: {}. S3 Error Message: {}"
    for bucket, expected in [
        ("no-such-bucket", message.format("NoSuchBucket", "The specified bucket does not exist")),
        ("empty", message.format("NoSuchKey", "The specified key does not exist.")),
    ]:
        code = {"S3Bucket": bucket, "S3Key": "function.zip"}
        failure = error_of(client.create_function, FunctionName=unique(), Role=ROLE, Code=code, **PYTHON_MAIN)
        assert tuple(failure) == ("InvalidParameterValueException", 400, expected)


def test_other_services_are_forwarded(with_companion):
    sqs = with_companion.client("sqs")
    url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "hello"
    s3 = with_companion.client("s3", s3={"addressing_style": "path"})
    s3.create_bucket(Bucket="things")
    body = bytes(range(256)) * 4096
    s3.put_object(Bucket="things", Key="a/b c+d", Body=body)
    assert s3.get_object(Bucket="things", Key="a/b c+d")["Body"].read() == body


def test_a_function_reaches_other_services(with_companion, companion_functions, boto3_in_functions):
    name = companion_functions.create(
        boto3_in_functions(), Runtime=PYTHON, Handler="probe.handler", Timeout=60
    )
    with_companion.client("sqs").create_queue(QueueName="from-inside")
    event = {
        "do": "aws",
        "service": "sqs",
        "operation": "get_queue_url",
        "parameters": {"QueueName": "from-inside"},
    }
    assert companion_functions.invoke(name, event).value()["QueueUrl"].endswith("/from-inside")


def test_without_a_companion_the_error_names_the_option(service):
    failure = error_of(service.client("sqs").create_queue, QueueName="jobs")
    assert "--aws-endpoint" in failure.message

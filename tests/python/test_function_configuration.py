"""Settings of functions beyond the everyday ones: networks, images, dead letters, where code came from."""

import pytest
from support.functions import PYTHON_PROBE, ROLE, Functions, archive, error_of, probe, unique

INVALID = "InvalidParameterValueException"
ACCESS_POINT = "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0"
QUEUE = "arn:aws:sqs:us-east-1:000000000000"
REPOSITORY = "000000000000.dkr.ecr.us-east-1.amazonaws.com/repo"


def create(client, functions, **parameters):
    name = unique()
    arguments = {"Role": ROLE, "Code": {"ZipFile": probe()}, **PYTHON_PROBE, **parameters}
    reply = client.create_function(
        FunctionName=name, **{key: value for key, value in arguments.items() if value is not None}
    )
    functions.made.append(name)
    return reply


@pytest.fixture
def network(with_companion):
    """Two subnets and security groups of one VPC of the companion."""
    ec2 = with_companion.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"]
        for number in range(2)
    ]
    group = ec2.create_security_group(VpcId=vpc, GroupName=unique("sg"), Description="x")["GroupId"]
    return vpc, subnets, group


def test_the_vpc_of_a_function_is_the_one_of_its_subnets(with_companion, network):
    vpc, subnets, group = network
    client = with_companion.client()
    functions = Functions(client)
    attached = {"SubnetIds": subnets[:1], "SecurityGroupIds": [group]}
    created = create(client, functions, VpcConfig=attached)
    assert created["VpcConfig"] == {**attached, "VpcId": vpc, "Ipv6AllowedForDualStack": False}
    name = created["FunctionName"]
    functions.wait_active(name)
    moved = {"SubnetIds": subnets, "SecurityGroupIds": [group], "Ipv6AllowedForDualStack": True}
    updated = client.update_function_configuration(FunctionName=name, VpcConfig=moved)
    assert updated["VpcConfig"] == {**moved, "VpcId": vpc}
    functions.wait_updated(name)
    assert functions.invoke(name, {"n": 1}).value() == {"n": 1}
    detached = {"SubnetIds": [], "SecurityGroupIds": []}
    updated = client.update_function_configuration(FunctionName=name, VpcConfig=detached)
    assert updated["VpcConfig"] == {**detached, "VpcId": "", "Ipv6AllowedForDualStack": False}


def test_networks_that_ec2_does_not_know_are_refused_in_its_words(with_companion, network):
    _, (subnet, _), group = network
    client = with_companion.client()
    functions = Functions(client)
    cases = {
        (subnet, "sg-0123456789abcdef0"): "Error occurred while DescribeSecurityGroups. EC2 Error Code: "
        "InvalidGroup.NotFound. EC2 Error Message: The security group 'sg-0123456789abcdef0' does not exist",
        ("subnet-0123456789abcdef0", group): "Error occurred while DescribeSubnets. EC2 Error Code: "
        "InvalidSubnetID.NotFound. EC2 Error Message: The subnet ID 'subnet-0123456789abcdef0' does not exist",
    }
    for (one, other), message in cases.items():
        config = {"SubnetIds": [one], "SecurityGroupIds": [other]}
        assert tuple(error_of(create, client, functions, VpcConfig=config)) == (INVALID, 400, message)
    name = functions.create()
    failure = error_of(client.update_function_configuration, FunctionName=name, VpcConfig=config)
    assert tuple(failure) == (INVALID, 400, message)
    functions.clean()


def test_without_ec2_an_account_has_one_vpc_in_a_region(client, functions):
    config = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    first, second = (create(client, functions, VpcConfig=config)["VpcConfig"]["VpcId"] for _ in range(2))
    assert first == second
    assert first.startswith("vpc-")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"VpcConfig": {"SubnetIds": ["subnet-1"]}},
            "SubnetIds and SecurityIds must coexist or be both empty list.",
        ),
        (
            {"FileSystemConfigs": [{"Arn": ACCESS_POINT, "LocalMountPath": "/mnt/x"}]},
            f"Function must be configured to execute in a VPC to reference access point {ACCESS_POINT}. Please "
            "update the function configuration to include VPC subnets and security groups.",
        ),
        (
            {"DeadLetterConfig": {"TargetArn": f"{QUEUE}:q.fifo"}},
            "Invalid dead letter queue ARN: FIFO SQS queue is not supported for dead letter configuration",
        ),
        (
            {"Runtime": "nodejs22.x", "SnapStart": {"ApplyOn": "PublishedVersions"}},
            "nodejs22.x is not supported for SnapStart enabled functions.",
        ),
    ],
    ids=["half-a-network", "files-without-network", "fifo", "snapshot-of-node"],
)
def test_settings_that_do_not_go_together_are_refused(client, functions, settings, message):
    assert tuple(error_of(create, client, functions, **settings)) == (INVALID, 400, message)
    name = functions.create()
    failure = error_of(client.update_function_configuration, FunctionName=name, **settings)
    assert tuple(failure) == (INVALID, 400, message)


def test_an_image_is_kept_and_described_and_not_yet_run(client, functions):
    command = {"EntryPoint": ["/entry"], "Command": ["app.handler"], "WorkingDirectory": "/app"}
    image = {"Runtime": None, "Handler": None, "PackageType": "Image", "Code": {"ImageUri": f"{REPOSITORY}:1"}}
    created = create(client, functions, **image, ImageConfig=command)
    name = created["FunctionName"]
    assert created["ImageConfigResponse"] == {"ImageConfig": command}
    assert not {"Runtime", "Handler", "RuntimeVersionConfig"} & created.keys()
    functions.wait_active(name)
    shown = client.get_function(FunctionName=name)
    assert shown["Code"] == {
        "RepositoryType": "ECR",
        "ImageUri": f"{REPOSITORY}:1",
        "ResolvedImageUri": f"{REPOSITORY}@sha256:{shown['Configuration']['CodeSha256']}",
    }
    managed = "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."
    failure = error_of(client.update_function_configuration, FunctionName=name, Handler="x.y")
    assert tuple(failure) == (INVALID, 400, managed)
    failure = error_of(client.update_function_code, FunctionName=name, ImageUri="not an image")
    assert failure.message == "Source image not an image is not valid. Provide a valid source image."
    failure = error_of(client.invoke, FunctionName=name)
    assert (failure.code, failure.status) == ("NotImplementedException", 501)
    updated = client.update_function_configuration(FunctionName=name, ImageConfig={})
    assert "ImageConfigResponse" not in updated


def test_the_key_of_the_code_is_shown_with_it(client, functions):
    key = "arn:aws:kms:us-east-1:000000000000:key/k"
    name = create(client, functions, Code={"ZipFile": probe(), "SourceKMSKeyArn": key})["FunctionName"]
    assert client.get_function(FunctionName=name)["Code"]["SourceKMSKeyArn"] == key
    client.update_function_code(FunctionName=name, ZipFile=archive({"probe.py": ""}))
    assert "SourceKMSKeyArn" not in client.get_function(FunctionName=name)["Code"]


def test_code_that_stays_in_its_bucket_is_referred_to_and_not_counted(with_companion):
    s3, client = with_companion.client("s3"), with_companion.client()
    functions = Functions(client)
    bucket = unique("bucket")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    stored = s3.put_object(Bucket=bucket, Key="code.zip", Body=probe())
    code = {"S3Bucket": bucket, "S3Key": "code.zip", "S3ObjectVersion": stored["VersionId"]}
    before = client.get_account_settings()["AccountUsage"]["TotalCodeSize"]
    created = create(client, functions, Code={**code, "S3ObjectStorageMode": "REFERENCE"})
    name = created["FunctionName"]
    functions.wait_active(name)
    assert client.get_account_settings()["AccountUsage"]["TotalCodeSize"] == before
    assert client.get_function(FunctionName=name)["Code"]["ResolvedS3Object"] == code
    assert functions.invoke(name, {"n": 1}).value() == {"n": 1}
    functions.clean()


def test_code_that_is_published_already_is_not_published_again(client, functions):
    name = functions.create(Publish=True)
    again = client.update_function_code(FunctionName=name, ZipFile=probe(), Publish=True)
    assert again["Version"] == "1"
    versions = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1"]

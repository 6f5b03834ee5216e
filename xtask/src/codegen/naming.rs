//! The model's names in Rust's spelling.
//!
//! Must not know what is named.

/// `CodeSha256` → `code_sha256`, `KMSKeyArn` → `kms_key_arn`.
pub(crate) fn snake(name: &str) -> String {
    words(name).join("_")
}

/// As [`snake`], usable as an identifier.
pub(crate) fn member(name: &str) -> String {
    let name = snake(name);
    if name == "type" { format!("r#{name}") } else { name }
}

/// `python3.12` → `Python312`, `TRIM_HORIZON` → `TrimHorizon`, `KMSKeyNotFound` → `KmsKeyNotFound`.
pub(crate) fn camel(name: &str) -> String {
    words(name)
        .iter()
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        })
        .collect()
}

/// `CodeSha256` → `CODE_SHA256`.
pub(crate) fn constant(name: &str) -> String {
    snake(name).to_ascii_uppercase()
}

/// Lower-case words. A word ends before a capital that follows a small letter or a digit, before the last capital of a row
/// that goes on in small letters, and at anything that is neither letter nor digit.
fn words(name: &str) -> Vec<String> {
    // Units that are one word, whatever their capitals say.
    let name = name.replace("GiB", "Gib").replace("VCpu", "Vcpu").replace("vCPU", "Vcpu");
    let letters: Vec<char> = name.chars().collect();
    let mut words = Vec::new();
    let mut word = String::new();
    for (index, &letter) in letters.iter().enumerate() {
        let previous = index.checked_sub(1).map(|index| letters[index]);
        let next = letters.get(index + 1);
        let starts = letter.is_ascii_uppercase()
            && previous.is_some_and(|previous| {
                !previous.is_ascii_uppercase() || next.is_some_and(char::is_ascii_lowercase)
            });
        if (starts || !letter.is_ascii_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_ascii_alphanumeric() {
            word.push(letter.to_ascii_lowercase());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_in_rust() {
        let members = [
            ("CodeSha256", "code_sha256"),
            ("KMSKeyArn", "kms_key_arn"),
            ("UUID", "uuid"),
            ("S3ObjectVersion", "s3_object_version"),
            ("Ipv6AllowedForDualStack", "ipv6_allowed_for_dual_stack"),
            ("ExecutionEnvironmentMemoryGiBPerVCpu", "execution_environment_memory_gib_per_vcpu"),
            ("Type", "r#type"),
        ];
        for (name, expected) in members {
            assert_eq!(member(name), expected);
        }
        let variants = [
            ("python3.12", "Python312"),
            ("nodejs4.3-edge", "Nodejs43Edge"),
            ("TRIM_HORIZON", "TrimHorizon"),
            ("FunctionError.InitTimeout", "FunctionErrorInitTimeout"),
            ("KMSKeyNotFound", "KmsKeyNotFound"),
            ("AWS_IAM", "AwsIam"),
        ];
        for (name, expected) in variants {
            assert_eq!(camel(name), expected);
        }
    }
}

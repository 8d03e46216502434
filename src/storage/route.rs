//! Where files are kept, as the settings `STORAGE__…` name it.

use std::path::PathBuf;

use crate::base::Secret;

/// The region that is signed for when none is named: most services that are not Amazon's take any.
pub const REGION: &str = "us-east-1";

/// Where files are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// In a folder.
    Folder(PathBuf),
    /// In a bucket.
    S3(S3),
}

/// A bucket at a service that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    /// The bucket.
    pub bucket: String,
    /// What every key begins with; may be empty.
    pub prefix: String,
    /// The service; none for Amazon's.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// The id of the key that signs.
    pub access_key: String,
    /// The key that signs.
    pub secret_key: Secret<String>,
}

impl Route {
    /// Reads `file://<folder>` or `s3://<bucket>[/<prefix>]`. What else a bucket needs the other settings say.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", ""));
        match scheme {
            "file" if !rest.is_empty() => Ok(Self::Folder(PathBuf::from(rest))),
            "s3" => bucket(rest).map(Self::S3),
            _ => Err("must be file://<folder> or s3://<bucket>/<prefix>".to_owned()),
        }
    }
}

fn bucket(place: &str) -> Result<S3, String> {
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let prefix = prefix.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let named = (3..=63).contains(&bucket.len()) && bucket.chars().all(plain);
    let placed = prefix.split('/').all(|word| word.chars().all(plain) && !matches!(word, "." | ".."));
    if !named || !placed || prefix.contains("//") || prefix.starts_with('/') {
        return Err("must name a bucket, and words of letters, digits, '.', '-' and '_' below it".to_owned());
    }
    Ok(S3 {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        endpoint: None,
        region: REGION.to_owned(),
        access_key: String::new(),
        secret_key: Secret::new(String::new()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_or_a_bucket() {
        assert_eq!(Route::parse("file:///var/files"), Ok(Route::Folder("/var/files".into())));
        for (url, expected) in [
            ("s3://cape", ("cape", "")),
            ("s3://cape/", ("cape", "")),
            ("s3://cape.files/a/b-c/", ("cape.files", "a/b-c")),
        ] {
            let Ok(Route::S3(s3)) = Route::parse(url) else { panic!("{url}") };
            assert_eq!((s3.bucket.as_str(), s3.prefix.as_str()), expected);
        }
        for wrong in [
            "",
            "files",
            "file://",
            "s3://",
            "s3://a",
            "s3://cape/../x",
            "s3://cape//x",
            "s3://ca pe",
            "gs://cape",
        ] {
            assert!(Route::parse(wrong).is_err(), "{wrong}");
        }
    }
}

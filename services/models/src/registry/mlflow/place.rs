//! Where among a server's artifacts a file lies, as the server says it.

/// What the file of a model is called in its folder: the name that MLflow's own ONNX models have.
const FILE: &str = "model.onnx";
const SCHEME: &str = "mlflow-artifacts:";
/// Longest path that is taken, in bytes.
const LONGEST: usize = 1_000;

/// A file below the artifacts that the configured server itself serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    folder: String,
    file: String,
}

impl Place {
    /// Of a folder, or a file that ends in `.onnx`, such as `mlflow-artifacts:/1/0123/artifacts`. `None`: it is elsewhere, by its
    /// scheme or host, or has anything but plain names in it.
    pub fn of(uri: &str) -> Option<Self> {
        let path = uri.strip_prefix(SCHEME)?;
        // Three slashes are an empty host; two are a host, which may be another.
        let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path).strip_prefix('/')?;
        if path.len() > LONGEST || !path.split('/').all(is_plain) {
            return None;
        }
        let (folder, file) = match path.rsplit_once('/') {
            Some((folder, file)) if file.ends_with(".onnx") => (folder, file),
            _ => (path, FILE),
        };
        Some(Self { folder: folder.to_owned(), file: file.to_owned() })
    }

    /// Path of the file.
    pub fn path(&self) -> String {
        format!("{}/{}", self.folder, self.file)
    }

    /// Path of the folder it lies in.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Its name in that folder.
    pub fn file(&self) -> &str {
        &self.file
    }
}

/// A name that is the same in a URL, a path and a folder.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_a_folder_and_an_onnx_file_is_itself() {
        let place = Place::of("mlflow-artifacts:/1/0f/artifacts").unwrap();
        assert_eq!((place.path().as_str(), place.folder()), ("1/0f/artifacts/model.onnx", "1/0f/artifacts"));
        assert_eq!(Place::of("mlflow-artifacts:///1/0f/artifacts"), Some(place));
        let file = Place::of("mlflow-artifacts:/1/0f/artifacts/net-2.onnx").unwrap();
        assert_eq!((file.path().as_str(), file.file()), ("1/0f/artifacts/net-2.onnx", "net-2.onnx"));
        assert_eq!(Place::of("mlflow-artifacts:/x.onnx").unwrap().path(), "x.onnx/model.onnx", "the root is nobody's folder");
    }

    #[test]
    fn what_is_elsewhere_or_could_be_is_no_place() {
        let long = format!("mlflow-artifacts:/{}", "a".repeat(LONGEST + 1));
        let wrong = [
            "",
            "mlflow-artifacts:",
            "mlflow-artifacts:/",
            "mlflow-artifacts:a",
            "mlflow-artifacts://host/a",
            "mlflow-artifacts://host:5000/a",
            "mlflow-artifacts:////host/a",
            "mlflow-artifacts:/a//b",
            "mlflow-artifacts:/a/",
            "mlflow-artifacts:/a/../b",
            "mlflow-artifacts:/a/..",
            "mlflow-artifacts:/./a",
            "mlflow-artifacts:/.git/a",
            "mlflow-artifacts:/a%2e%2e/b",
            "mlflow-artifacts:/a?b",
            "mlflow-artifacts:/a#b",
            "mlflow-artifacts:/a\\b",
            "mlflow-artifacts:/a\0b",
            "mlflow-artifacts:/a b",
            "mlflow-artifacts:/a\r\nHost: b",
            "MLFLOW-ARTIFACTS:/a",
            "http://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            "/etc/passwd",
            "s3://bucket/key",
            "runs:/0f/model",
            "models:/m-0f",
            &long,
        ];
        for uri in wrong {
            assert_eq!(Place::of(uri), None, "{uri:?}");
        }
    }
}

//! Compiles the protos without protoc, and keeps the raw descriptor set, whose options the server reads when it starts.

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=migrations");
    let mut protos = Vec::new();
    find_protos(Path::new("proto"), &mut protos)?;
    // The order in a folder is not defined, and the generated code should not depend on it.
    protos.sort();

    let mut compiler = protox::Compiler::new(["proto", "third_party"])?;
    compiler.include_imports(true).include_source_info(true).open_files(&protos)?;
    let typed = compiler.file_descriptor_set();
    // One file with a module for each package, so that a new package needs no list to be kept.
    tonic_prost_build::configure().include_file("packages.rs").compile_fds(typed)?;

    // The typed set loses custom options, the encoded one keeps them.
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.binpb");
    std::fs::write(out, compiler.encode_file_descriptor_set())?;
    Ok(())
}

fn find_protos(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            println!("cargo::rerun-if-changed={}", path.display());
            found.push(path);
        }
    }
    Ok(())
}

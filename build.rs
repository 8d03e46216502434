//! Compiles the protos without protoc, and keeps the raw descriptor set, whose options the server reads when it starts.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script by the environment where to write"
)]

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
    let mutations = mutations(&typed);
    // Ordered maps: a request is hashed as it is encoded, and a hash map would encode the same one in another order.
    let configured = tonic_prost_build::configure().btree_map(".").codec_path("crate::rpc::codec::Frugal");
    configured.include_file("packages.rs").compile_fds(typed)?;

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("mutations.rs"), mutations)?;
    // The typed set loses custom options, the encoded one keeps them.
    std::fs::write(out.join("descriptors.binpb"), compiler.encode_file_descriptor_set())?;
    Ok(())
}

/// Every request that carries an id of its own says so through one trait, so that no handler can forget to read it.
fn mutations(files: &prost_types::FileDescriptorSet) -> String {
    let mut code = String::new();
    for file in &files.file {
        let module = file.package().replace('.', "::");
        for message in &file.message_type {
            let Some(field) = ["request_id", "client_message_id"].into_iter().find(|name| {
                message.name().ends_with("Request") && message.field.iter().any(|field| field.name() == *name)
            }) else {
                continue;
            };
            code.push_str(&format!(
                "impl crate::rpc::Mutation for {module}::{} {{
                    const FIELD: &'static str = \"{field}\";
                    fn take_request_id(&mut self) -> String {{ std::mem::take(&mut self.{field}) }}
                }}\n",
                message.name()
            ));
        }
    }
    code
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

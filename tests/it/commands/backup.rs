//! Backups are made while a node writes, and come back: the drill on both engines, and what a restore refuses.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use capecontrol::db::{Conn as _, Db, Engine, Options, Scope};
use capecontrol::proto::capecontrol::auth::v1 as auth;
use capecontrol::proto::capecontrol::chat::v1 as chat;
use capecontrol::proto::capecontrol::payments::v1::PaymentStatus;
use capecontrol::storage::Route;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::e2e::payments::{checkout, events, ledger, payment, press};
use crate::process::{Node, PATIENCE, program, run};
use crate::support::app::{App, Person, ROOT_KEY};
use crate::support::{on_both, postgres};

use super::{account, command, read, sign_in};

/// A command on the database of a node of these tests, as whoever restores: the owner of what there will be.
fn as_owner(folder: &tempfile::TempDir, url: &str, arguments: &[&str]) -> tokio::process::Command {
    let mut command = on(folder, url, arguments);
    command.env("CAPECONTROL_DATABASE__OWNER_URL", postgres::owner_url(url).unwrap_or_default());
    command
}

/// A command on the database of a node of these tests, as the role that serves.
fn on(folder: &tempfile::TempDir, url: &str, arguments: &[&str]) -> tokio::process::Command {
    let mut command = program(folder, arguments);
    command.env("CAPECONTROL_DATABASE__URL", url).env("CAPECONTROL_SECURITY__ROOT_KEY", ROOT_KEY);
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command
}

async fn send(person: &Person, thread_id: &str, text: String, id: String) {
    let request = chat::SendMessageRequest {
        thread_id: thread_id.to_owned(),
        text,
        client_message_id: id,
        ..Default::default()
    };
    person.chat().send_message(request).await.unwrap();
}

async fn thread(person: &Person, thread_id: &str) -> chat::Thread {
    let request = chat::GetThreadRequest { thread_id: thread_id.to_owned() };
    person.chat().get_thread(request).await.unwrap().into_inner().thread.unwrap()
}

async fn paid(person: &Person, payment_id: &str) -> bool {
    payment(person, payment_id).await.unwrap().status() == PaymentStatus::Succeeded
}

/// An address where nothing is, for what was at `url`.
async fn elsewhere(url: &str, folder: &tempfile::TempDir) -> String {
    if url.starts_with("sqlite://") {
        return format!("sqlite://{}", folder.path().join("restored.db").display());
    }
    // The schema keeps its name, which is part of the backup.
    postgres::empty(url).await;
    url.to_owned()
}

/// Whether the role that serves has its rights again, and the wall stands.
async fn stands(url: &str) -> bool {
    let restored = Db::open(&Options::new(url)).await.unwrap();
    let whole = restored.level().await.unwrap().is_current() && restored.breaches().await.unwrap().is_empty();
    restored.close().await;
    whole
}

/// The chains go on where the backup left them, which had so many transactions and entries.
async fn chains_go_on(t: &App, admin: &Person, transactions: i64, entries: i64) {
    assert!(t.seal_ledger().await > 0);
    let longer = ledger(admin).await;
    assert!(longer.balanced && longer.sealed_count > transactions, "{longer:?}");
    t.seal().await;
    let whole = auth::VerifyAuditLogRequest { organization_id: "-".to_owned(), ..Default::default() };
    let whole = admin.audit().verify_audit_log(whole).await.unwrap().into_inner();
    assert!(whole.intact && whole.entry_count > entries, "{whole:?}");
}

on_both! {
    async fn a_backup_made_under_writes_comes_back(t: App) {
        let folder = tempfile::tempdir().unwrap();
        let ada = t.register("ada@example.com").await;
        let unpaid = checkout(&ada, "live-verification").await.payment_id;
        let (first, pending) = (checkout(&ada, "live-verification").await, checkout(&ada, "live-verification").await);
        press(&t, &first, &[("simulator_action", "pay")]).await;
        t.run_jobs().await;
        // Answered with 200, and not applied yet: the job waits.
        press(&t, &pending, &[("simulator_action", "pay")]).await;
        let opened = ada.chat().create_thread(chat::CreateThreadRequest::default()).await.unwrap();
        let thread_id = opened.into_inner().thread.unwrap().id;
        for number in 0..20 {
            send(&ada, &thread_id, format!("before {number}"), t.world.id::<()>().to_string()).await;
        }
        let before = thread(&ada, &thread_id).await;
        t.seal().await;
        assert!(t.seal_ledger().await > 0);

        let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
        let writing = async {
            while !stop.load(Ordering::SeqCst) {
                send(&ada, &thread_id, "meanwhile".to_owned(), t.world.id::<()>().to_string()).await;
                written.fetch_add(1, Ordering::SeqCst);
            }
        };
        let to = folder.path().join("backup");
        let backing_up = async {
            let arguments = ["backup", "--json", "--to", to.to_str().unwrap()];
            let done = run(on(&folder, &t.database_url, &arguments)).await;
            stop.store(true, Ordering::SeqCst);
            done
        };
        let ((code, out, error), ()) = tokio::join!(backing_up, writing);
        assert_eq!(code, 0, "{error}");
        assert!(written.load(Ordering::SeqCst) > 0, "nothing was written meanwhile");
        let manifest = read(&out)["manifest"].clone();
        assert_eq!(manifest, read(&std::fs::read_to_string(to.join("manifest.json")).unwrap()));
        assert!(!to.join("root.key").exists() && !error.contains(ROOT_KEY));

        let url = elsewhere(&t.database_url, &folder).await;
        let restore = ["restore", "--from", to.to_str().unwrap()];
        let (code, out, error) = run(as_owner(&folder, &url, &restore)).await;
        assert!(code == 0 && out.contains("After a restore"), "{out} {error}");
        assert!(stands(&url).await);
        // Once: what is there now is not overwritten.
        let (code, _, error) = run(as_owner(&folder, &url, &restore)).await;
        assert!(code == 1 && error.contains("overwrites nothing"), "{error}");

        let (code, out, error) = run(on(&folder, &url, &["audit", "verify", "--json"])).await;
        let log = read(&out);
        assert!(code == 0 && log["intact"] == true && log["entries"].as_i64().unwrap() > 3, "{out} {error}");

        // The chain over the ledger came back whole, up to the head that was signed before.
        let (code, out, error) = run(on(&folder, &url, &["ledger", "verify", "--json"])).await;
        let sealed = read(&out);
        assert!(code == 0 && sealed["sealed"].as_i64() > Some(0) && sealed["unsealed"] == 0, "{out} {error}");

        let t = t.restart_on(url).await;
        t.advance(Duration::from_secs(60));
        // The session is there; the port, and with it the issuer of access tokens, is another.
        let ada = t.refresh(&ada).await;
        let after = thread(&ada, &thread_id).await;
        assert!(after.last_seq >= before.last_seq && after.epoch == before.epoch + 1, "{before:?} {after:?}");
        assert!(after.last_seq <= before.last_seq + i64::try_from(written.load(Ordering::SeqCst)).unwrap());
        let request = chat::ListEventsRequest { thread_id: thread_id.clone(), page_size: 100, ..Default::default() };
        let listed = ada.chat().list_events(request).await.unwrap().into_inner().events;
        let seqs: Vec<i64> = listed.iter().map(|event| event.seq).collect();
        assert!(seqs.len() >= 20 && seqs.windows(2).all(|pair| (pair[1] - pair[0]).abs() == 1), "{seqs:?}");
        assert!(paid(&ada, &first.payment_id).await && !paid(&ada, &pending.payment_id).await);
        assert!(!paid(&ada, &unpaid).await);
        // The job that waited runs, once.
        assert!(t.run_jobs().await > 0);
        assert_eq!(t.run_jobs().await, 0);
        assert!(paid(&ada, &pending.payment_id).await);
        let admin = t.admin().await;
        assert_eq!(events(&admin).await.len(), 2);
        let books = ledger(&admin).await;
        assert_eq!((books.balanced, books.transaction_count), (true, 4));
        chains_go_on(&t, &admin, sealed["sealed"].as_i64().unwrap(), log["entries"].as_i64().unwrap()).await;
    }

    async fn a_restore_refuses_what_is_not_whole_or_not_for_it(t: App) {
        let folder = tempfile::tempdir().unwrap();
        t.register("ada@example.com").await;
        let to = folder.path().join("backup");
        // A backup as the owner, whom the policies hold off as well, is as whole as one as the role that serves.
        let (code, _, error) = run(as_owner(&folder, &t.database_url, &["backup", "--to", to.to_str().unwrap()])).await;
        assert_eq!(code, 0, "{error}");
        let url = elsewhere(&t.database_url, &folder).await;
        let restore = ["restore", "--from", to.to_str().unwrap()];
        let refused = async |words: &str| {
            let (code, out, error) = run(as_owner(&folder, &url, &restore)).await;
            assert!(code == 1 && out.is_empty() && error.contains(words), "{words}: {error}");
            nothing_is_at(&url).await;
        };
        let data = std::fs::read_dir(&to).unwrap().map(|file| file.unwrap().path());
        let data = data.filter(|path| !path.ends_with("manifest.json")).collect::<Vec<_>>().remove(0);
        let (whole, manifest) = (std::fs::read(&data).unwrap(), std::fs::read(to.join("manifest.json")).unwrap());

        let mut changed = whole.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        std::fs::write(&data, &changed).unwrap();
        refused("SHA-256").await;
        std::fs::write(&data, &whole[..middle]).unwrap();
        refused("is damaged").await;
        std::fs::remove_file(&data).unwrap();
        refused("cannot be read").await;
        std::fs::write(&data, &whole).unwrap();

        let told = |change: &dyn Fn(&mut Value)| {
            let mut told: Value = serde_json::from_slice(&manifest).unwrap();
            change(&mut told);
            std::fs::write(to.join("manifest.json"), told.to_string()).unwrap();
        };
        told(&|told| told["level"] = json!(99));
        refused("migration 99").await;
        told(&|told| told["format"] = json!(2));
        refused("format 2").await;
        told(&|told| told["files"][0]["name"] = json!("../backup/database"));
        refused("must name").await;
        std::fs::remove_file(to.join("manifest.json")).unwrap();
        refused("manifest.json cannot be read").await;
        std::fs::write(to.join("manifest.json"), &manifest).unwrap();

        let mut other = as_owner(&folder, &url, &restore);
        other.env("CAPECONTROL_SECURITY__ROOT_KEY", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
        let (code, _, error) = run(other).await;
        assert!(code == 1 && error.contains("root key"), "{error}");
        nothing_is_at(&url).await;
        assert_eq!(run(as_owner(&folder, &url, &restore)).await.0, 0);
        let restored = Db::open(&Options::new(&url)).await.unwrap();
        let mut conn = restored.conn(Scope::System("test")).await.unwrap();
        let (people, members): (i64, i64) =
            conn.sql("SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM memberships)").one().await.unwrap();
        assert_eq!((people, members), (1, 1), "what stands behind the wall came back too");
    }
}

/// A file that goes with a message, and one of which nothing but a part has come.
async fn with_files(t: &App) {
    let ada = t.register("ada@example.com").await;
    let opened = ada.chat().create_thread(chat::CreateThreadRequest::default()).await.unwrap();
    let thread_id = opened.into_inner().thread.unwrap().id;
    for (name, is_whole) in [("whole.txt", true), ("part.txt", false)] {
        let create = chat::CreateAttachmentRequest {
            thread_id: thread_id.clone(),
            file_name: name.to_owned(),
            size_bytes: 5,
            sha256: Sha256::digest(b"words").to_vec(),
            request_id: t.world.id::<()>().to_string(),
        };
        let made = ada.chat().create_attachment(create).await.unwrap().into_inner().attachment.unwrap();
        let (attachment_id, data) = (made.id, b"words".to_vec());
        let part =
            chat::UploadAttachmentPartRequest { attachment_id: attachment_id.clone(), part_number: 1, data };
        ada.chat().upload_attachment_part(part).await.unwrap();
        if is_whole {
            let complete = chat::CompleteAttachmentRequest { attachment_id };
            ada.chat().complete_attachment(complete).await.unwrap();
        }
    }
    t.run_jobs().await;
}

on_both! {
    async fn files_come_back_with_what_tells_of_them(t: App) {
        let folder = tempfile::tempdir().unwrap();
        with_files(&t).await;
        let Route::Folder(files) = t.node.config().storage.clone() else { panic!("no folder") };
        let kept = |mut command: tokio::process::Command, folder: &Path| {
            command.env("CAPECONTROL_STORAGE__URL", format!("file://{}", folder.display()));
            command
        };
        let in_bucket = |mut command: tokio::process::Command| {
            command.env("CAPECONTROL_STORAGE__URL", "s3://bucket").env("CAPECONTROL_STORAGE__ACCESS_KEY", "key");
            command.env("CAPECONTROL_STORAGE__SECRET_KEY", "secret");
            command
        };
        let (to, other) = (folder.path().join("backup"), folder.path().join("other"));
        let backup = ["backup", "--to", to.to_str().unwrap()];
        let (code, out, error) = run(kept(on(&folder, &t.database_url, &backup), &files)).await;
        assert!(code == 0 && out.contains("Files of conversations in it: 2, of 10 bytes."), "{out} {error}");
        let mut check = std::process::Command::new("sha256sum");
        let checked = check.args(["--check", "--strict", "files.sha256"]).current_dir(&to).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
        let (code, out, error) =
            run(in_bucket(on(&folder, &t.database_url, &["backup", "--to", other.to_str().unwrap()]))).await;
        assert!(code == 0 && out.contains("not in it: back them up there"), "{out} {error}");
        assert!(!other.join("files").exists());

        let list = std::fs::read_to_string(to.join("files.sha256")).unwrap();
        let names: Vec<&str> = list.lines().map(|line| line.split_once("  files/").unwrap().1).collect();
        assert!(names.len() == 2 && names.iter().any(|name| name.ends_with("/original")), "{names:?}");
        let url = elsewhere(&t.database_url, &folder).await;
        let restore = ["restore", "--from", to.to_str().unwrap()];
        let restored = folder.path().join("restored");
        let refused = async |command: tokio::process::Command, words: &str| {
            let (code, out, error) = run(command).await;
            assert!(code == 1 && out.is_empty() && error.contains(words), "{words}: {error}");
            nothing_is_at(&url).await;
            let staged = folder.path().join("restored.restoring");
            assert!(!restored.join("attachments").exists() && !staged.exists(), "files were put in place");
        };
        refused(in_bucket(as_owner(&folder, &url, &restore)), "keep them elsewhere").await;
        let damaged = to.join("files").join(names[0]);
        std::fs::write(&damaged, "sword").unwrap();
        refused(kept(as_owner(&folder, &url, &restore), &restored), "SHA-256").await;
        std::fs::remove_file(&damaged).unwrap();
        refused(kept(as_owner(&folder, &url, &restore), &restored), "cannot be read").await;
        std::fs::write(&damaged, "words").unwrap();
        std::fs::create_dir(&restored).unwrap();
        std::fs::write(restored.join("something"), "").unwrap();
        refused(kept(as_owner(&folder, &url, &restore), &restored), "overwrites nothing").await;
        std::fs::remove_file(restored.join("something")).unwrap();

        let (code, out, error) = run(kept(as_owner(&folder, &url, &restore), &restored)).await;
        assert!(code == 0 && out.contains("Files of conversations in it: 2"), "{out} {error}");
        for name in names {
            assert_eq!(std::fs::read(restored.join(name)).unwrap(), std::fs::read(files.join(name)).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_go_and_come_while_the_database_is_copied_are_in_it() {
    use crate::support::Start as _;
    use std::os::unix::fs::PermissionsExt as _;
    let t = App::start(Engine::Postgres).await;
    with_files(&t).await;
    let Route::Folder(files) = t.node.config().storage.clone() else { panic!("no folder") };
    let folder = tempfile::tempdir().unwrap();
    let tools = folder.path().join("tools");
    std::fs::create_dir(&tools).unwrap();
    let (place, real) =
        (files.join("attachments").display().to_string(), "PATH=/usr/local/bin:/usr/bin:/bin pg_dump");
    let script = format!(
        "#!/bin/sh\ncase $1 in --version) ;; *)\n\
         rm -r {place}/*; mkdir {place}/late; echo late > {place}/late/file;; esac\n\
         exec env {real} \"$@\"\n"
    );
    std::fs::write(tools.join("pg_dump"), script).unwrap();
    std::fs::set_permissions(tools.join("pg_dump"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let to = folder.path().join("backup");
    let arguments = ["backup", "--to", to.to_str().unwrap(), "--tools", tools.to_str().unwrap()];
    let mut backup = on(&folder, &t.database_url, &arguments);
    backup.env("CAPECONTROL_STORAGE__URL", format!("file://{}", files.display()));
    let (code, out, error) = run(backup).await;
    assert!(code == 0 && out.contains("Files of conversations in it: 3, of 15 bytes."), "{out} {error}");
    assert_eq!(std::fs::read(to.join("files/attachments/late/file")).unwrap(), b"late\n");
    t.stop().await;
}

/// Nothing that a node could serve from is there.
async fn nothing_is_at(url: &str) {
    if let Some(path) = url.strip_prefix("sqlite://") {
        for ending in ["", "-wal", "-shm", ".restoring", ".restoring-wal"] {
            assert!(!Path::new(&format!("{path}{ending}")).exists(), "{path}{ending}");
        }
    } else {
        let db = Db::open(&Options::new(postgres::owner_url(url).unwrap())).await.unwrap();
        assert_eq!(db.server().await.unwrap().unwrap().relations, 0);
        db.close().await;
    }
}

/// A backup of a node in a folder of its own, and the folder of the node.
async fn backed_up(arguments: &[&str]) -> (tempfile::TempDir, tempfile::TempDir, String) {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = Node::start(command(&from, &["serve"])).await;
    node.register().await;
    let (_, token, _) = run(command(&from, &["token", "issue", "--email", "ada@example.com"])).await;
    let place = to.path().join("backup");
    let arguments = [&["backup", "--to", place.to_str().unwrap()], arguments].concat();
    let (code, _, error) = run(command(&from, &arguments)).await;
    assert_eq!(code, 0, "{error}");
    (from, to, token.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_machine_needs_nothing_but_a_backup_with_the_key() {
    let (from, to, token) = backed_up(&["--with-root-key"]).await;
    let (code, out, error) = run(command(&to, &["restore", "--from", "backup", "--json"])).await;
    assert_eq!(code, 0, "{error}");
    assert_eq!(read(&out)["root_key_restored"], true);
    let key =
        |folder: &tempfile::TempDir| std::fs::read_to_string(folder.path().join("data/root.key")).unwrap();
    assert_eq!(key(&from).trim(), key(&to).trim());
    let node = Node::start(command(&to, &["serve"])).await;
    assert_eq!(account(&node, &token).await.unwrap().email, "ada@example.com");
    assert!(sign_in(&node, "ada@example.com", crate::support::app::PASSWORD).await.is_ok());
    // A served file is not restored to.
    let (code, _, error) = run(command(&to, &["restore", "--from", "backup"])).await;
    assert!(code == 1 && error.contains("another process serves"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_key_a_backup_is_of_no_use() {
    let (from, to, _) = backed_up(&[]).await;
    let (code, _, error) = run(command(&to, &["restore", "--from", "backup"])).await;
    assert!(code == 1 && error.contains("root key is missing"), "{error}");
    assert!(!to.path().join("data/capecontrol.db").exists());
    std::fs::copy(from.path().join("data/root.key"), to.path().join("data/root.key")).unwrap();
    assert_eq!(run(command(&to, &["restore", "--from", "backup"])).await.0, 0);
    // And none is made of a database whose key is gone.
    std::fs::remove_file(from.path().join("data/root.key")).unwrap();
    let (code, _, error) = run(command(&from, &["backup", "--to", "another"])).await;
    assert!(code == 1 && error.contains("root key is missing"), "{error}");
    assert!(!from.path().join("another").exists() && !from.path().join("another.partial").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_overwrites_nothing_and_what_was_cut_short_is_seen() {
    let (from, to, _) = backed_up(&[]).await;
    for (name, words) in [("kept", "exists already"), ("cut", "cut short")] {
        let folder = to.path().join(if name == "cut" { "cut.partial" } else { name });
        std::fs::create_dir(&folder).unwrap();
        let place = to.path().join(name);
        let (code, _, error) = run(command(&from, &["backup", "--to", place.to_str().unwrap()])).await;
        assert!(code == 1 && error.contains(words), "{error}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
    let (code, _, error) = run(command(&from, &["backup", "--to", "/no/such/folder/backup"])).await;
    assert!(code == 1 && error.contains("cannot be made"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_contradicts_itself_is_refused_although_its_digest_is_right() {
    let (from, to, _) = backed_up(&["--with-root-key"]).await;
    let data = to.path().join("backup/database.sqlite");
    let options = SqliteConnectOptions::new().filename(&data).foreign_keys(false);
    let mut conn = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("DELETE FROM accounts").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    let path = to.path().join("backup/manifest.json");
    let mut manifest = read(&std::fs::read_to_string(&path).unwrap());
    let digest = std::process::Command::new("sha256sum").arg(&data).output().unwrap().stdout;
    manifest["files"][0]["sha256"] = json!(String::from_utf8(digest).unwrap().split(' ').next().unwrap());
    manifest["files"][0]["bytes"] = json!(std::fs::metadata(&data).unwrap().len());
    std::fs::write(&path, manifest.to_string()).unwrap();
    let (code, _, error) = run(command(&to, &["restore", "--from", "backup"])).await;
    assert!(code == 1 && error.contains("refers to no row of accounts"), "{error}");
    manifest["level"] = json!(1);
    std::fs::write(&path, manifest.to_string()).unwrap();
    assert_eq!(run(command(&to, &["restore", "--from", "backup"])).await.0, 1);
    assert_eq!(std::fs::read_dir(to.path().join("data")).unwrap().count(), 1, "only the lock is there");
    drop(from);
}

/// Kills a restore again and again, a little later each time: afterwards there is nothing, or all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_is_killed_leaves_nothing_or_all() {
    let (_from, to, _) = backed_up(&["--with-root-key"]).await;
    let database = to.path().join("data/capecontrol.db");
    let mut whole = 0;
    for step in 0_u64.. {
        let mut child = command(&to, &["restore", "--from", "backup"]).spawn().unwrap();
        let killed = tokio::time::timeout(Duration::from_millis(step * 4), child.wait()).await.is_err();
        if killed {
            child.start_kill().unwrap();
            child.wait().await.unwrap();
        }
        if database.exists() {
            assert_eq!(run(command(&to, &["admin", "list"])).await.0, 0);
            std::fs::remove_file(&database).unwrap();
            for ending in ["-wal", "-shm"] {
                let _ = std::fs::remove_file(to.path().join(format!("data/capecontrol.db{ending}")));
            }
            whole += 1;
        }
        if !killed && whole > 0 {
            break;
        }
        assert!(Duration::from_millis(step * 4) < PATIENCE, "it never ended by itself");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_that_are_missing_or_old_are_named() {
    use crate::support::Start as _;
    use std::os::unix::fs::PermissionsExt as _;
    let t = App::start(Engine::Postgres).await;
    let folder = tempfile::tempdir().unwrap();
    let tools = folder.path().join("tools");
    std::fs::create_dir(&tools).unwrap();
    let backup = ["backup", "--to", "backup", "--tools", tools.to_str().unwrap()];
    let (code, _, error) = run(on(&folder, &t.database_url, &backup)).await;
    assert!(code == 1 && error.contains("pg_dump cannot be started") && error.contains("--tools"), "{error}");
    for (script, words) in [
        ("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'", "pg_dump is of PostgreSQL 9"),
        (
            "#!/bin/sh\ncase $1 in --version) echo 'pg_dump (PostgreSQL) 99.1';; *) echo boom >&2; exit 3;; esac",
            "boom",
        ),
    ] {
        std::fs::write(tools.join("pg_dump"), script).unwrap();
        std::fs::set_permissions(tools.join("pg_dump"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let (code, _, error) = run(on(&folder, &t.database_url, &backup)).await;
        assert!(code == 1 && error.contains(words), "{error}");
        assert!(!folder.path().join("backup").exists() && !folder.path().join("backup.partial").exists());
    }
    // The password is in no argument of theirs.
    let script = "#!/bin/sh\ncase $1 in --version) echo 'pg_dump 99.1';; *) echo \"$@\" >&2; exit 3;; esac";
    std::fs::write(tools.join("pg_dump"), script).unwrap();
    let (_, _, error) = run(on(&folder, &t.database_url, &backup)).await;
    let password = t.database_url.split(':').nth(2).unwrap().split('@').next().unwrap();
    assert!(error.contains("--format=custom") && !error.contains(password), "{error}");
    t.stop().await;
}

//! Images from a real registry, an archive and loose parts, in the sandbox. Needs Debian's `docker-registry` and
//! `busybox-static`, and root, as whom a registry's port and users can be had anywhere.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gristmill_proto::app::OciDigest;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, WorkerId};
use gristmill_proto::job::{JobSpec, Limits};
use gristmill_proto::outcome::Exit;
use gristmill_worker::container::{self, Images, Login, Parts, Place, Prepared, Registries, Registry};
use gristmill_worker::process::{Attempt, Finished};
use gristmill_worker::sandbox::{Config, Sandbox};
use reqwest::Client;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

const ARCH: &str = std::env::consts::ARCH;

fn digest(bytes: &[u8]) -> OciDigest {
    OciDigest(Sha256::digest(bytes).into())
}

/// A layer, as an image's builder would write it.
fn layer(write: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    write(&mut tar);
    tar.into_inner().unwrap()
}

fn file(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    tar.append_data(&mut header, path, content).unwrap();
}

fn link(tar: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, path: &str, target: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    tar.append_link(&mut header, path, target).unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Manifest, configuration, layers.
struct Image {
    manifest: Vec<u8>,
    blobs: Vec<Vec<u8>>,
}

impl Image {
    fn new(layers: &[Vec<u8>], run: &serde_json::Value) -> Self {
        let packed: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
        let diff_ids: Vec<OciDigest> = layers.iter().map(|layer| digest(layer)).collect();
        let architecture = if ARCH == "x86_64" { "amd64" } else { "arm64" };
        let config = serde_json::json!({
            "architecture": architecture, "os": "linux", "config": run,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = serde_json::to_vec(&config).unwrap();
        let part = |kind: &str, bytes: &[u8]| {
            let media_type = format!("application/vnd.oci.image.{kind}");
            serde_json::json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
        };
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": part("config.v1+json", &config),
            "layers": packed.iter().map(|bytes| part("layer.v1.tar+gzip", bytes)).collect::<Vec<_>>(),
        });
        let blobs = std::iter::once(config).chain(packed).collect();
        Self { manifest: serde_json::to_vec(&manifest).unwrap(), blobs }
    }

    fn digest(&self) -> OciDigest {
        digest(&self.manifest)
    }

    fn parts(&self, dir: &Path) -> Place {
        let mut parts = Parts::default();
        for bytes in self.blobs.iter().chain([&self.manifest]) {
            let path = dir.join(digest(bytes).to_string());
            std::fs::write(&path, bytes).unwrap();
            parts.add(digest(bytes), path).unwrap();
        }
        Place::Parts(parts)
    }

    /// A tar archive of an OCI layout.
    fn layout(&self) -> Vec<u8> {
        layer(|tar| {
            file(tar, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
            for bytes in self.blobs.iter().chain([&self.manifest]) {
                file(tar, &format!("blobs/sha256/{}", hex::encode(digest(bytes).0)), 0o644, bytes);
            }
        })
    }
}

fn busybox() -> Vec<u8> {
    let path = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    std::fs::read(path.expect("these tests need Debian's busybox-static")).unwrap()
}

/// busybox with a shell, and a user.
fn shell(run: &serde_json::Value) -> Image {
    let base = layer(|tar| {
        file(tar, "bin/busybox", 0o755, &busybox());
        for name in ["sh", "id", "cat", "ls", "touch"] {
            link(tar, tar::EntryType::Symlink, &format!("bin/{name}"), "busybox");
        }
        file(tar, "etc/passwd", 0o600, b"root:x:0:0::/root:/bin/sh\nrunner:x:1234:77::/home/runner:/bin/sh\n");
        file(tar, "data/gone", 0o644, b"below");
        file(tar, "data/kept", 0o600, b"kept");
    });
    let above = layer(|tar| file(tar, "data/.wh.gone", 0o644, b""));
    Image::new(&[base, above], run)
}

struct Host {
    dir: tempfile::TempDir,
    sandbox: Sandbox,
}

impl Host {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let launcher = env!("CARGO_BIN_EXE_gristmill-launcher").into();
        let sandbox = Sandbox::open(Config { launcher, host_ids: Default::default() }).await.unwrap();
        Self { dir, sandbox }
    }

    fn images(&self, known: BTreeMap<String, Registry>, bytes_max: u64) -> Images {
        let registries = Registries { client: Client::new(), known };
        Images::open(self.dir.path().join("images"), registries, bytes_max).unwrap()
    }

    async fn prepare(&self, image: &Image) -> Prepared {
        let images = self.images(BTreeMap::new(), 1 << 30);
        images.prepare(image.digest(), &image.parts(self.dir.path()), ARCH, false).await.unwrap()
    }

    async fn run(&self, image: &Prepared, args: &[&str]) -> Finished {
        let mut job = JobSpec::new(Digest::of(b"container"));
        job.args = args.iter().map(ToString::to_string).collect();
        job.limits = Limits { wall_ms: 20_000, ..Limits::default() };
        let attempt = Attempt {
            job: &job,
            task: TaskId { job: JobId(1), index: 0 },
            work: 0,
            lease: LeaseId(1),
            worker: WorkerId([0; 20]),
            app_dir: self.dir.path(),
            entry: "",
            inputs: &[],
            lines: &[],
            hosts: &[],
        };
        container::run(&self.sandbox, &attempt, image, &[], (|_| {}, |_, _: &[u8]| {}), CancellationToken::new())
            .await
            .unwrap()
    }

    async fn says(&self, image: &Prepared, script: &str) -> String {
        let finished = self.run(image, &["sh", "-c", script]).await;
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&finished.stdout.head),
            String::from_utf8_lossy(&finished.stderr.head)
        );
        assert_eq!(finished.exit, Exit::Code(0), "{said}");
        said.trim_end().to_owned()
    }
}

#[tokio::test]
async fn what_the_image_says_is_obeyed() {
    let host = Host::new().await;
    let run = serde_json::json!({
        "User": "runner", "Env": ["A=image", "PATH=/bin"], "WorkingDir": "/work/here",
        "Cmd": ["sh", "-c", "id -u; id -g; pwd; echo $A $HOME; cat /data/kept; ls /data"],
    });
    let image = host.prepare(&shell(&run)).await;
    let said = host.run(&image, &[]).await;
    let said = String::from_utf8_lossy(&said.stdout.head).into_owned();
    assert_eq!(said, "1234\n77\n/work/here\nimage /home/runner\nkeptkept\n");
    let root = host.prepare(&shell(&serde_json::json!({ "Env": ["PATH=/bin"] }))).await;
    assert_eq!(host.says(&root, "id -u; pwd; echo $HOME").await, "0\n/\n/root");
    let finished = host.run(&root, &["sh", "-c", "echo 42 > /out/result; exit 0"]).await;
    assert_eq!(finished.answer.as_deref(), Some(&b"42\n"[..]));
    let entry = serde_json::json!({ "Entrypoint": ["/bin/busybox", "echo", "said"], "Cmd": ["nothing"] });
    let image = host.prepare(&shell(&entry)).await;
    assert_eq!(host.run(&image, &["by", "job"]).await.stdout.head, b"said by job\n");
    assert_eq!(host.run(&image, &[]).await.stdout.head, b"said nothing\n");
}

#[tokio::test]
async fn what_an_attempt_writes_is_its_own() {
    let host = Host::new().await;
    let image = host.prepare(&shell(&serde_json::json!({ "Env": ["PATH=/bin"] }))).await;
    let write = "echo changed > /data/kept; touch /bin/new /dev/shm/x /tmp/x; cat /data/kept";
    assert_eq!(host.says(&image, write).await, "changed");
    assert_eq!(host.says(&image, "cat /data/kept; ls /bin").await, "keptbusybox\ncat\nid\nls\nsh\ntouch");
    // The whole file system is on the job's disk, with its limit.
    let full = host.run(&image, &["sh", "-c", "cat /dev/zero > /data/full"]).await;
    assert_eq!(full.exit, Exit::Limit(gristmill_proto::outcome::Limit::Disk));
}

#[tokio::test]
async fn archives_and_registries_give_the_same() {
    let host = Host::new().await;
    let image = shell(&serde_json::json!({ "Env": ["PATH=/bin"] }));
    let archive = host.dir.path().join("layout.tar");
    std::fs::write(&archive, image.layout()).unwrap();
    let place = Place::Parts(Parts::of_layout(&archive).unwrap());
    let images = host.images(BTreeMap::new(), 1 << 30);
    let from_archive = images.prepare(image.digest(), &place, ARCH, false).await.unwrap();
    assert_eq!(host.says(&from_archive, "echo up").await, "up");
    drop(images);

    let registry = RegistryServer::start(host.dir.path(), Some(("reader", "secret")));
    registry.push("lab/shell", &image).await;
    std::fs::remove_dir_all(host.dir.path().join("images")).unwrap();
    let name = format!("{}/lab/shell", registry.host);
    let stranger = host.images(BTreeMap::new(), 1 << 30);
    let refused = stranger.prepare(image.digest(), &Place::Registry(name.clone()), ARCH, false).await.unwrap_err();
    assert!(format!("{refused}").contains("sign-in"), "{refused}");
    let login = Some(Login { user: "reader".into(), password: "secret".into() });
    let known = [(registry.host.clone(), Registry { mirrors: vec![], login: login.clone() })].into();
    let images = host.images(known, 1 << 30);
    let pulled = images.prepare(image.digest(), &Place::Registry(name), ARCH, false).await.unwrap();
    assert_eq!(pulled, from_archive);
    assert_eq!(host.says(&pulled, "echo up").await, "up");

    // Of a registry that is away, a mirror has it; a later image of the same layers fetches none.
    let other = shell(&serde_json::json!({ "Env": ["PATH=/bin"], "User": "runner" }));
    registry.push("lab/shell", &other).await;
    let mirrors = vec!["127.0.0.1:9".to_owned(), registry.host.clone()];
    let known = [
        ("away.example".to_owned(), Registry { mirrors, login: None }),
        (registry.host.clone(), Registry { mirrors: vec![], login }),
    ];
    let images = host.images(known.into(), 1 << 30);
    let place = Place::Registry("away.example/lab/shell".into());
    let mirrored = images.prepare(other.digest(), &place, ARCH, false).await.unwrap();
    assert_eq!(host.says(&mirrored, "id -u").await, "1234");
    assert_eq!(std::fs::read_dir(host.dir.path().join("images/layers")).unwrap().count(), 2);
    drop(registry);
    assert_eq!(images.prepare(other.digest(), &place, ARCH, false).await.unwrap(), mirrored, "nobody is asked again");
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_is_refused() {
    let host = Host::new().await;
    let image = shell(&serde_json::json!({}));
    let dir = host.dir.path().join("parts");
    std::fs::create_dir(&dir).unwrap();
    let place = image.parts(&dir);
    let images = host.images(BTreeMap::new(), 1 << 30);
    let layer = dir.join(digest(&image.blobs[1]).to_string());
    let whole = std::fs::read(&layer).unwrap();
    let mut broken = whole.clone();
    *broken.last_mut().unwrap() ^= 1;
    std::fs::write(&layer, broken).unwrap();
    let refused = images.prepare(image.digest(), &place, ARCH, false).await.unwrap_err();
    assert!(refused.to_string().contains("what came for"), "{refused}");
    // A layer that is what the manifest says, but not what the configuration does.
    let mut liar = shell(&serde_json::json!({}));
    let config = String::from_utf8(liar.blobs[0].clone()).unwrap();
    let true_id = digest(&layer_bytes(&whole)).to_string();
    let lie = config.replace(&true_id, &digest(b"other").to_string());
    assert_ne!(lie, config);
    let manifest = String::from_utf8(liar.manifest.clone()).unwrap();
    let manifest = manifest.replace(&digest(&liar.blobs[0]).to_string(), &digest(lie.as_bytes()).to_string());
    let old_size = format!("\"size\":{}", liar.blobs[0].len());
    liar.manifest = manifest.replace(&old_size, &format!("\"size\":{}", lie.len())).into_bytes();
    liar.blobs[0] = lie.into_bytes();
    let refused = images.prepare(liar.digest(), &liar.parts(&dir), ARCH, false).await.unwrap_err();
    assert!(refused.to_string().contains("it unpacks to sha256:"), "{refused}");
    let left = std::fs::read_dir(host.dir.path().join("images")).unwrap().count();
    assert_eq!(left, 2, "nothing half-done stays");
    let missing = images.prepare(digest(b"none"), &liar.parts(&dir), ARCH, false).await.unwrap_err();
    assert!(missing.to_string().contains("is not in the archive"), "{missing}");
}

fn layer_bytes(gzipped: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(gzipped), &mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn images_longest_not_used_make_room() {
    let host = Host::new().await;
    let images = host.images(BTreeMap::new(), 5 << 20);
    let mut homes = Vec::new();
    for number in 0..3 {
        let run = serde_json::json!({ "Env": [format!("NUMBER={number}")] });
        let content = vec![number; 2 << 20];
        let image = Image::new(&[layer(|tar| file(tar, "content", 0o644, &content))], &run);
        homes.push(images.prepare(image.digest(), &image.parts(host.dir.path()), ARCH, false).await.unwrap().rootfs);
    }
    assert_eq!(homes.iter().map(|home| home.exists()).collect::<Vec<_>>(), [false, true, true]);
}

/// Debian's registry on a port of its own, stopped with the test.
struct RegistryServer {
    process: Child,
    host: String,
    login: Option<(&'static str, &'static str)>,
}

impl RegistryServer {
    fn start(dir: &Path, login: Option<(&'static str, &'static str)>) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {0}/registry}}}}\nhttp: {{addr: \"{host}\"}}\n",
            dir.display()
        );
        if login.is_some() {
            // bcrypt of `secret`.
            let line = "reader:$2b$05$hT6BkHVFRAHTRhosM.K0luhc8bBdpk7Xh1hVSfU.wEhNcZlX5XyLy\n";
            std::fs::write(dir.join("htpasswd"), line).unwrap();
            config.push_str(&format!("auth: {{htpasswd: {{realm: lab, path: {}/htpasswd}}}}\n", dir.display()));
        }
        let path = dir.join("registry.yml");
        std::fs::write(&path, config).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need Debian's docker-registry");
        let started = Instant::now();
        while std::net::TcpStream::connect(&host).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "the registry does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, host, login }
    }

    async fn push(&self, name: &str, image: &Image) {
        let client = Client::new();
        let signed = |request: reqwest::RequestBuilder| match self.login {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        };
        for blob in &image.blobs {
            let begun = signed(client.post(format!("http://{}/v2/{name}/blobs/uploads/", self.host)));
            let begun = begun.send().await.unwrap().error_for_status().unwrap();
            let to = begun.headers()["location"].to_str().unwrap();
            let to = format!("{to}&digest={}", digest(blob));
            signed(client.put(to)).body(blob.clone()).send().await.unwrap().error_for_status().unwrap();
        }
        let to = format!("http://{}/v2/{name}/manifests/{}", self.host, image.digest());
        let request = client.put(to).header("Content-Type", "application/vnd.oci.image.manifest.v1+json");
        signed(request).body(image.manifest.clone()).send().await.unwrap().error_for_status().unwrap();
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// --- hostile layers --------------------------------------------------------------------------------------------------

struct Target {
    dir: tempfile::TempDir,
    root: PathBuf,
}

impl Target {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(dir.path().join("outside"), "untouched").unwrap();
        Self { dir, root }
    }

    fn unpack(&self, bytes: &[u8], room_bytes: u64) -> Result<(), container::UnpackError> {
        let path = self.dir.path().join("layer");
        std::fs::write(&path, bytes).unwrap();
        let opened = std::fs::File::open(path).unwrap();
        let content = if bytes.starts_with(&[0x1f, 0x8b]) { layer_bytes(bytes) } else { bytes.to_vec() };
        container::unpack(opened, "", digest(&content), &self.root, &mut container::Room::new(room_bytes))
    }

    fn check_outside(&self) {
        assert_eq!(std::fs::read(self.dir.path().join("outside")).unwrap(), b"untouched");
        let mut names: Vec<_> =
            std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["layer", "outside", "root"]);
    }

    fn reads(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).unwrap_or_else(|error| error.kind().to_string())
    }
}

/// Past what the library refuses to write.
fn raw(tar: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, path: &[u8], target: &[u8], size: u64, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o6755);
    header.set_size(size);
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

#[test]
fn no_path_and_no_link_leads_out() {
    let target = Target::new();
    for path in ["../outside", "a/../../outside", "/../outside", "./../outside"] {
        let bytes = layer(|tar| raw(tar, tar::EntryType::Regular, path.as_bytes(), b"", 1, b"x"));
        assert!(matches!(target.unpack(&bytes, 1 << 20), Err(container::UnpackError::Path(_))), "{path}");
    }
    let outside = target.dir.path().join("outside");
    let outside = outside.to_str().unwrap();
    let bytes = layer(|tar| {
        link(tar, tar::EntryType::Symlink, "up", "..");
        link(tar, tar::EntryType::Symlink, "absolute", "/");
        link(tar, tar::EntryType::Symlink, "outside", outside);
        link(tar, tar::EntryType::Symlink, "loop", "loop");
        // Through a link, as within the image.
        file(tar, "up/by-up", 0o644, b"x");
        file(tar, "absolute/by-absolute", 0o644, b"x");
        // In place of a link.
        file(tar, "outside", 0o644, b"x");
        raw(tar, tar::EntryType::Regular, b"/rooted", b"", 1, b"x");
    });
    target.unpack(&bytes, 1 << 20).unwrap();
    for path in ["by-up", "by-absolute", "outside", "rooted"] {
        assert_eq!(target.reads(path), "x", "{path}");
    }
    for (name, to) in [("hard", "../outside"), ("hard", outside), ("hard", "loop/x")] {
        let bytes = layer(|tar| raw(tar, tar::EntryType::Link, name.as_bytes(), to.as_bytes(), 0, b""));
        assert!(target.unpack(&bytes, 1 << 20).is_err(), "{to}");
        assert!(!target.root.join("hard").exists());
    }
    target.check_outside();
}

#[test]
fn devices_pipes_and_bits_are_left_out() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let target = Target::new();
    let bytes = layer(|tar| {
        for (kind, path) in
            [(tar::EntryType::Char, "char"), (tar::EntryType::Block, "block"), (tar::EntryType::Fifo, "fifo")]
        {
            raw(tar, kind, path.as_bytes(), b"", 0, b"");
        }
        raw(tar, tar::EntryType::Regular, b"set-id", b"", 1, b"x");
        link(tar, tar::EntryType::Link, "again", "set-id");
    });
    target.unpack(&bytes, 1 << 20).unwrap();
    assert_eq!(std::fs::read_dir(&target.root).unwrap().count(), 2);
    let about = std::fs::metadata(target.root.join("set-id")).unwrap();
    assert_eq!((about.permissions().mode() & 0o7777, about.nlink()), (0o777, 2));
}

#[test]
fn sizes_are_bounded() {
    let target = Target::new();
    let zeros = vec![0; 8 << 20];
    let bomb = gzip(&layer(|tar| file(tar, "zeros", 0o644, &zeros)));
    assert!(bomb.len() < 100_000);
    assert!(matches!(target.unpack(&bomb, 8 << 20), Ok(())));
    assert!(matches!(target.unpack(&bomb, (8 << 20) - 1), Err(container::UnpackError::TooLarge(_))));
    // Of names, and of what says more than there is.
    let long = layer(|tar| raw(tar, tar::EntryType::GNULongName, b"x", b"", 2 << 20, &vec![b'x'; 2 << 20]));
    assert!(target.unpack(&long, 1 << 30).is_err());
    let deep = layer(|tar| file(tar, &"d/".repeat(200), 0o644, b""));
    assert!(matches!(target.unpack(&deep, 1 << 20), Err(container::UnpackError::Path(_))));
    let mut cut = layer(|tar| file(tar, "cut", 0o644, &zeros));
    cut.truncate(1 << 20);
    assert!(target.unpack(&cut, 1 << 30).is_err());
    assert!(
        target
            .unpack(b"no archive at all, and longer than a block of one would be".repeat(20).as_slice(), 1 << 20)
            .is_err()
    );
    target.check_outside();
}

#[test]
fn later_layers_take_away_and_replace() {
    let target = Target::new();
    let below = layer(|tar| {
        for path in ["gone", "folder/a", "folder/b", "opaque/a", "opaque/b/c", "file", "kept/x"] {
            file(tar, path, 0o644, b"below");
        }
        link(tar, tar::EntryType::Symlink, "link", "kept");
    });
    target.unpack(&below, 1 << 20).unwrap();
    let above = layer(|tar| {
        file(tar, "opaque/new", 0o644, b"above");
        for path in [".wh.gone", "folder/.wh.a", "opaque/.wh..wh..opq", ".wh..", "link/.wh.x"] {
            raw(tar, tar::EntryType::Regular, path.as_bytes(), b"", 0, b"");
        }
        file(tar, "file/now-a-folder", 0o644, b"above");
        file(tar, "folder/b", 0o644, b"above");
    });
    // A file does not become a folder by what is put into it.
    assert!(target.unpack(&above, 1 << 20).is_err());
    let above = layer(|tar| {
        file(tar, "opaque/new", 0o644, b"above");
        for path in [".wh.gone", "folder/.wh.a", "opaque/.wh..wh..opq", ".wh..", "link/.wh.x"] {
            raw(tar, tar::EntryType::Regular, path.as_bytes(), b"", 0, b"");
        }
        raw(tar, tar::EntryType::Directory, b"file", b"", 0, b"");
        file(tar, "file/now-a-folder", 0o644, b"above");
        file(tar, "folder/b", 0o644, b"above");
    });
    target.unpack(&above, 1 << 20).unwrap();
    for path in ["gone", "folder/a", "opaque/a", "opaque/b/c", "kept/x"] {
        assert_eq!(target.reads(path), "entity not found", "{path}");
    }
    for path in ["opaque/new", "file/now-a-folder", "folder/b"] {
        assert_eq!(target.reads(path), "above", "{path}");
    }
}

#[test]
fn names_may_be_long() {
    let target = Target::new();
    let path = format!("{}/{}", "a".repeat(200), "b".repeat(200));
    target.unpack(&layer(|tar| file(tar, &path, 0o755, b"x")), 1 << 20).unwrap();
    assert_eq!(target.reads(&path), "x");
}

//! Apps that are not programs alone, from the pool to a worker and back: real binary, real processes. Needs Debian's
//! `busybox-static`.

mod grid;

use std::path::Path;

use grid::{Role, run, text};
use gristmill::pool_client::PoolClient;
use gristmill_proto::app::{AppManifest, ContainerTarget, Image, ImageSource, OciDigest, SizedBlob, Target};
use gristmill_proto::digest::Digest;
use sha2::{Digest as _, Sha256};

/// A tar archive of an OCI layout whose image is busybox, and the image's digest.
fn busybox_layout() -> (OciDigest, Vec<u8>) {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = std::fs::read(busybox.expect("this test needs Debian's busybox-static")).unwrap();
    let add = |tar: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, path, content).unwrap();
    };
    let digest = |bytes: &[u8]| OciDigest(Sha256::digest(bytes).into());
    let mut layer = tar::Builder::new(Vec::new());
    add(&mut layer, "bin/busybox", &busybox);
    let layer = layer.into_inner().unwrap();
    let architecture = if std::env::consts::ARCH == "x86_64" { "amd64" } else { "arm64" };
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "config": { "Entrypoint": ["/bin/busybox", "sh", "-c"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    })
    .to_string();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": { "digest": digest(config.as_bytes()), "size": config.len() },
        "layers": [{ "digest": digest(&layer), "size": layer.len() }],
    })
    .to_string();
    let mut layout = tar::Builder::new(Vec::new());
    for bytes in [layer.as_slice(), config.as_bytes(), manifest.as_bytes()] {
        let name = digest(bytes).to_string().replace(':', "/");
        add(&mut layout, &format!("blobs/{name}"), bytes);
    }
    (digest(manifest.as_bytes()), layout.into_inner().unwrap())
}

#[tokio::test]
async fn an_image_of_the_pool_runs_on_a_worker() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (pool_dir, worker_dir) = (path("pool"), path("worker"));
    let args = ["scheduler", "--listen", "127.0.0.1:0", "--data-dir", text(&pool_dir)];
    let scheduler = Role::start(&args, &path("scheduler.log"));
    let url = scheduler.first_line.clone();
    let token = std::fs::read_to_string(path("pool/token")).unwrap();
    let (digest, layout) = busybox_layout();
    let blob = Digest::of(&layout);
    let from = ImageSource::Layout(SizedBlob { digest: blob, size: layout.len() as u64 });
    let target = Target::Container(ContainerTarget {
        arch: std::env::consts::ARCH.into(),
        image: Image { digest, from },
        entrypoint: vec![],
        files: vec![],
    });
    let manifest = AppManifest::new("shell", "1", vec![target]);
    let pool = PoolClient::new(&url, token.trim());
    let app = pool.publish(&manifest, &[(&blob, layout)]).await.unwrap();
    let args = ["worker", "--pool", &url, "--data-dir", text(&worker_dir), "--slots", "2"];
    let _worker = Role::start(&args, &path("worker.log"));

    let job = format!(
        "app = \"{app}\"\nargs = [\"echo from the image; echo 42 > /out/result\"]\nrequire = [\"isolation >= 1\"]\n"
    );
    std::fs::write(path("job.toml"), job).unwrap();
    let (token_path, job_path, into) = (path("pool/token"), path("job.toml"), path("results"));
    let submit = ["submit", text(&job_path), "--watch", "--pool", &url, "--pool-token", text(&token_path)];
    let done = run(&submit);
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}\n{}", std::fs::read_to_string(path("worker.log")).unwrap_or_default());
    let fetched = run(&["fetch", "1", "--pool", &url, "--out", text(&into)]);
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let found = contents_below(&into);
    assert!(found.iter().any(|content| content == b"from the image\n"), "{found:?}");
    assert!(found.iter().any(|content| content == b"42\n"), "{found:?}");
}

fn contents_below(dir: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents_below(&path));
        } else {
            found.push(std::fs::read(path).unwrap());
        }
    }
    found
}

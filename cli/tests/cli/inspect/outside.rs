//! `quarter inspect`: pictures, and what is refused.

use super::{inspect, model, refusal};
use crate::checkpoint::{Dtype, file, singles as bytes, tensor};
use crate::common::{Scene, npy, raw, singles};

/// Every tag is closed in its turn, and every `&` and `<` in text is escaped.
#[track_caller]
pub fn xml(text: &str) -> usize {
    let (mut open, mut tags, mut rest) = (Vec::new(), 0, text);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "letters that XML forbids");
    while let Some(start) = rest.find('<') {
        let (between, tag) = rest.split_at(start);
        let entity = |part: &str| {
            ["lt;", "gt;", "amp;", "quot;", "apos;"].iter().any(|e| part.starts_with(e))
        };
        assert!(between.split('&').skip(1).all(entity), "{between}");
        let end = tag.find('>').expect("a tag ends");
        let (tag, after) = (&tag[1..end], &tag[end + 1..]);
        (tags, rest) = (tags + 1, after);
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
    }
    assert!(open.is_empty() && tags > 0);
    tags
}

#[test]
fn pictures() {
    let scene = Scene::new(&[]);
    scene.put("m.safetensors", &file(&model(), &[]));
    let run = inspect(&scene, &["m.safetensors", "--svg", "x.svg"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert_eq!(scene.names(), ["in.npy", "m.safetensors", "x.svg"]);
    let text = String::from_utf8(scene.get("x.svg")).unwrap();
    assert!(xml(&text) > 100);
    assert!(text.starts_with("<svg width=\"1120\" height=\"600\""), "two by two");
    for part in ["a.weight", "c&lt;&amp;&quot;&apos;&gt;", "e4m3 2^", "e5m2 2^", "e2m1 2^"] {
        assert!(text.contains(part), "{part}");
    }
    let many: Vec<_> =
        (0..50).map(|i| tensor(&format!("t{i:02}"), Dtype::F32, &[1], bytes(&[1.0]))).collect();
    scene.put("m.safetensors", &file(&many, &[]));
    let run = inspect(&scene, &["m.safetensors", "--svg", "x.svg"]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (Some(0), "x.svg: the first 48 of 50 tensors; --include chooses others\n")
    );
    let text = String::from_utf8(scene.get("x.svg")).unwrap();
    xml(&text);
    assert!(text.contains("t47") && !text.contains("t48"));
}

#[test]
fn refusals() {
    let whole = singles(&[1.0, 2.0]);
    let scene = Scene::new(&whole[..whole.len() - 1]);
    let has = |args: &[&str], part: &str| {
        let message = refusal(&scene, args);
        assert!(message.contains(part), "{message}");
    };
    has(&["in.npy"], "in.npy: truncated: 7 of the 8 bytes of its elements");
    has(&["in.npy", "--svg", "x.svg"], "truncated");
    has(&["nothing.npy"], "cannot read nothing.npy: ");
    has(&["nothing"], "cannot read nothing: ");
    std::fs::create_dir(scene.path("d.npy")).unwrap();
    has(&["d.npy"], "d.npy");
    has(&["."], ". holds no .safetensors file");
    scene.put("in.npy", &npy("|u1", "(2,)", &[1, 2]));
    has(&["in.npy"], "uint8 elements are codes of a format: `quarter cast --from FORMAT");
    let header = "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2, 1), }\n";
    scene.put("in.npy", &raw(header, &[0; 8]));
    has(&["in.npy"], "shape (1, 2, 1) in Fortran order has 3 dimensions, but 2 are the most");
    scene.put("in.npy", &npy("<f4", "(4294967296, 4294967296)", &[]));
    has(&["in.npy"], "2^63 bytes");
    scene.put("in.npy", &whole);
    has(&["in.npy", "--include", "*"], "--include and --exclude are for models");
    has(
        &["in.npy", "--svg", "nowhere/x.svg"],
        "cannot write nowhere/x.svg: nowhere is not a directory",
    );
    let good = file(&model(), &[]);
    for len in [0, 7, 8, 100, good.len() - 1] {
        scene.put("m.safetensors", &good[..len]);
        has(&["m.safetensors", "--svg", "x.svg"], "truncated: ");
    }
    let mut wrong = model();
    wrong[1] = tensor("a.weight_scale_inv", Dtype::F32, &[3, 2], bytes(&[1.0; 6]));
    scene.put("m.safetensors", &file(&wrong, &[]));
    has(&["m.safetensors"], "\"a.weight\"");
    scene.put("m.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\xff{}");
    has(&["m.safetensors"], "not a safetensors file");
    // 2 is for a command line that is not understood.
    for casts in
        ["e4m3", "", "e4m3:tensor:te-current,", "bf16:tensor:te-current", "e4m3:0x1:te-block"]
    {
        assert_eq!(inspect(&scene, &["in.npy", "--casts", casts]).code, Some(2), "{casts}");
    }
}

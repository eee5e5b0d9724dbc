//! `quarter cast`: the files, and what becomes of what was there before.

use crate::common::{Scene, array, exists, npy, raw, run, singles};

#[test]
fn shapes_are_kept() {
    for (shape, n) in [("()", 1), ("(0,)", 0), ("(3,)", 3), ("(2, 0, 5)", 0), ("(2, 3, 4)", 24)] {
        for order in ["False", "True"] {
            let header =
                format!("{{'descr': '<f2', 'fortran_order': {order}, 'shape': {shape}, }}");
            let scene = Scene::new(&raw(&header, &[0x00, 0x3c].repeat(n)));
            let (header, data) = scene.result(&["--to", "bf16"]);
            let want = format!("{{'descr': '<u2', 'fortran_order': {order}, 'shape': {shape}, }}");
            assert_eq!(header, want);
            assert_eq!(data, [0x80, 0x3f].repeat(n));
        }
    }
}

/// What numpy 2.4 writes for `np.save(f, np.array([[0x38, 0xb8, 0]], 'u1'))`, byte for byte.
#[test]
fn files_are_numpys_to_the_byte() {
    let scene =
        Scene::new(&npy("<f4", "(1, 3)", &[1f32, -1.0, 0.0].map(f32::to_le_bytes).concat()));
    scene.result(&["--to", "e4m3"]);
    let mut want = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, ".to_vec();
    want.extend(b"'shape': (1, 3), }");
    want.resize(127, b' ');
    want.extend(b"\n\x38\xb8\x00");
    assert_eq!(scene.get("out.npy"), want);
}

/// Headers that others write: any order of keys, double quotes, no spaces, Python 2's longs.
#[test]
fn headers_of_other_writers() {
    let headers = [
        "{\"shape\": (1,), 'fortran_order':False,'descr':\"<f4\"}",
        "{'descr':'<f4','fortran_order':True,'shape':(1,)}\n\n",
        " { 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 1L , 1L ) , } \n",
        "{'descr':'<f4','fortran_order':False,'shape':()}",
    ];
    for header in headers {
        for version in 1..=3 {
            let mut bytes = raw(header, &1f32.to_le_bytes());
            if version > 1 {
                bytes.splice(6..10, [version, 0, header.len() as u8, 0, 0, 0]);
            }
            assert_eq!(Scene::new(&bytes).result(&["--to", "e4m3"]).1, [0x38], "{header}");
        }
    }
}

#[test]
fn wrong_dtypes() {
    let known = "is not one of f8, f4, f2, u1, u2 (or V1, f1, V2)";
    let unknown = |descr: &str| format!("in.npy: dtype \"{descr}\" {known}");
    for descr in ["<i4", "|b1", "<c8", "|O", "<U3", "|S4", "=f4", "|f4", "f4", "<f16", "<V4", "é"]
    {
        let scene = Scene::new(&npy(descr, "(1,)", &[0; 8]));
        assert_eq!(scene.refusal(&["--to", "e4m3"]), unknown(descr));
    }
    let cases: [(&str, &[&str], &str); 8] = [
        ("|u1", &["--to", "f32"], "uint8 elements are codes of a format: name it with --from"),
        ("<V2", &["--to", "f32"], "uint16 elements are codes of a format: name it with --from"),
        (
            "<f4",
            &["--from", "e4m3", "--to", "f32"],
            "--from e4m3 needs uint8 elements, and these are float32",
        ),
        (
            "<u2",
            &["--from", "e4m3", "--to", "f32"],
            "--from e4m3 needs uint8 elements, and these are uint16",
        ),
        (
            "|u1",
            &["--from", "bf16", "--to", "f32"],
            "--from bf16 needs uint16 elements, and these are uint8",
        ),
        (
            "<f2",
            &["--from", "bf16", "--to", "f32"],
            "--from bf16 needs uint16 elements, and these are float16",
        ),
        (
            "|u1",
            &["--from", "f32", "--to", "e4m3"],
            "--from f32 needs float32 elements, and these are uint8",
        ),
        (
            "<f4",
            &["--from", "f64", "--to", "e4m3"],
            "--from f64 needs float64 elements, and these are float32",
        ),
    ];
    for (descr, args, expected) in cases {
        let size = usize::from(descr.as_bytes()[2] - b'0');
        let scene = Scene::new(&array(descr, size, &[0; 8]));
        assert_eq!(scene.refusal(args), format!("in.npy: {expected}"));
    }
}

#[test]
fn an_input_that_is_not_there_or_no_file() {
    let scene = Scene::new(&[]);
    std::fs::remove_file(scene.path("in.npy")).unwrap();
    assert!(scene.refusal(&["--to", "e4m3"]).starts_with("cannot read in.npy: "));
    std::fs::create_dir(scene.path("in.npy")).unwrap();
    assert!(scene.refusal(&["--to", "e4m3"]).contains("in.npy: "));
}

#[test]
fn the_output_may_be_the_input() {
    let scene = Scene::new(&singles(&[1.0, 2.0]));
    assert_eq!(run(scene.command("in.npy", "in.npy", &["--to", "e4m3"])).code, Some(0));
    assert!(scene.get("in.npy").ends_with(&[b'\n', 0x38, 0x40]));
    assert_eq!(scene.names(), ["in.npy"]);
}

#[test]
fn an_old_output_stays_until_the_new_one_is_whole() {
    let scene = Scene::new(&singles(&[1.0, f32::NAN]));
    scene.put("out.npy", b"precious");
    scene.refusal(&["--to", "e2m1", "--nan", "error"]);
    assert_eq!(scene.get("out.npy"), b"precious");
    assert_eq!(scene.result(&["--to", "e2m1"]).1, [2, 0]);
    assert_eq!(scene.names(), ["in.npy", "out.npy"]);
}

#[test]
fn an_output_that_cannot_be() {
    let scene = Scene::new(&singles(&[1.0]));
    std::fs::create_dir(scene.path("folder")).unwrap();
    for (output, expected) in [
        ("folder", "cannot write folder: it exists and is not a file"),
        ("nowhere/out.npy", "cannot write nowhere/out.npy: nowhere is not a directory"),
        ("..", "cannot write ..: it exists and is not a file"),
        ("nowhere/..", "cannot write nowhere/..: it is not the name of a file"),
        ("/dev/null", "cannot write /dev/null: it exists and is not a file"),
    ] {
        if cfg!(not(unix)) && output.starts_with('/') {
            continue;
        }
        let run = run(scene.command("in.npy", output, &["--to", "e4m3"]));
        assert_eq!((run.code, run.stderr), (Some(1), format!("quarter: {expected}\n")));
        assert_eq!(scene.names(), ["folder", "in.npy"]);
    }
    scene.put("out.npy", b"precious");
    let mut permissions = std::fs::metadata(scene.path("out.npy")).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(scene.path("out.npy"), permissions).unwrap();
    assert_eq!(scene.refusal(&["--to", "e4m3"]), "cannot write out.npy: it is read-only");
    assert_eq!(scene.get("out.npy"), b"precious");
}

#[cfg(unix)]
#[test]
fn links_and_modes_are_kept() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new(&singles(&[1.0]));
    let mode =
        |name: &str| std::fs::metadata(scene.path(name)).unwrap().permissions().mode() & 0o777;
    scene.result(&["--to", "e4m3"]);
    assert_eq!(mode("out.npy"), mode("in.npy"), "a new file is as any program's");
    std::fs::remove_file(scene.path("out.npy")).unwrap();
    scene.put("real.npy", b"old");
    std::fs::set_permissions(scene.path("real.npy"), PermissionsExt::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("real.npy", scene.path("out.npy")).unwrap();
    assert_eq!(scene.result(&["--to", "e4m3"]).1, [0x38]);
    assert!(std::fs::symlink_metadata(scene.path("out.npy")).unwrap().is_symlink());
    assert_eq!(mode("real.npy"), 0o640);
    assert_eq!(scene.get("real.npy"), scene.get("out.npy"));
    assert!(exists(&scene.path("out.npy")));
}

/// A pipe has no length to check beforehand: the reader finds the end by itself.
#[cfg(target_os = "linux")]
#[test]
fn from_a_pipe() {
    use std::io::Write as _;
    let scene = Scene::new(&[]);
    let whole = singles(&[1.0, 2.0]);
    let long = [&whole[..], &[0]].concat();
    let cases = [
        (&whole[..], Some(0), ""),
        (&whole[..whole.len() - 1], Some(1), "truncated: 7 of the 8 bytes of its elements"),
        (&long, Some(1), "more bytes follow the 8 that its shape asks for"),
    ];
    for (bytes, code, expected) in cases {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(bytes).unwrap();
        drop(writer);
        let mut command = scene.command("/dev/stdin", "out.npy", &["--to", "e4m3"]);
        command.stdin(reader);
        let run = run(command);
        assert_eq!(run.code, code, "{}", run.stderr);
        assert!(run.stderr.contains(expected), "{}", run.stderr);
        assert_eq!(exists(&scene.path("out.npy")), code == Some(0));
        let _ = std::fs::remove_file(scene.path("out.npy"));
        assert_eq!(scene.names(), ["in.npy"]);
    }
}

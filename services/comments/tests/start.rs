//! How the process starts, and what it does not start with.

use anyhow::Result;
use std::process::Command;

fn larder_comments(arguments: &[&str]) -> Result<(bool, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_larder-comments"))
        .args(arguments)
        .env_clear()
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8(said)?))
}

#[test]
fn a_bad_way_to_the_profiles_stops_the_start_with_the_settings_name() -> Result<()> {
    for bad in ["", "127.0.0.1:7101", "http://fine:1,nowhere"] {
        let (started, said) = larder_comments(&["--print-config", "--profiles", bad])?;
        assert!(
            !started && said.contains("--profiles (PROFILES_ADDR)"),
            "{bad:?}: {said}"
        );
    }
    Ok(())
}

#[test]
fn the_settings_are_printed_as_they_are_understood() -> Result<()> {
    let (started, said) = larder_comments(&["--print-config"])?;
    assert!(started, "{said}");
    for line in [
        "grpc-addr = 127.0.0.1:7301\n",
        "admin-addr = 127.0.0.1:9301\n",
        "profiles = http://127.0.0.1:7101,http://127.0.0.1:7102\n",
        "crowd-followers = 10000\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    Ok(())
}

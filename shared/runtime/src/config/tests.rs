use super::*;
use clap::{CommandFactory as _, FromArgMatches as _, Parser};

#[derive(Parser, Debug)]
struct Config {
    #[command(flatten)]
    common: Common,
}

/// Without the environment, which differs from one machine to the next.
fn parsed(flags: &[&str]) -> Result<Common, clap::Error> {
    let command = Config::command().mut_args(|arg| arg.env(None::<&str>));
    let matches = command.try_get_matches_from(["larder"].iter().chain(flags))?;
    Config::from_arg_matches(&matches).map(|config| config.common)
}

#[test]
fn everything_has_a_default_that_works_on_a_laptop() {
    let common = parsed(&[]).expect("defaults");
    assert_eq!(common.listen.grpc(7101).to_string(), "127.0.0.1:7101");
    assert_eq!(common.listen.admin(9101).to_string(), "127.0.0.1:9101");
    assert_eq!(common.seams.remote.expose(), "hub:");
    assert_eq!(common.seams.check(), Ok(()));
    assert_eq!(common.serving.limits().drain, Duration::from_secs(25));
}

#[test]
fn a_bad_value_names_its_setting() {
    for (flag, value) in [
        ("--grpc-addr", "nowhere"),
        ("--admin-addr", "127.0.0.1:http"),
        ("--remote", ""),
        ("--database", "no-scheme"),
        ("--embedded", "maybe"),
        ("--migrate", "never"),
        ("--drain-seconds", "-1"),
        ("--warm-seconds", "61"),
        ("--log-format", "xml"),
        ("--rate-limit-ip", "100"),
        ("--rate-burst-ip", "0"),
        ("--rate-limit-user", "100/fortnight"),
        ("--rate-limit-user-header", "my header"),
        ("--rate-limit-away", "panic"),
        ("--trusted-proxies", "10.0.0.0/8,10.0.0.1/8"),
        ("--trusted-header", "via"),
        ("--callers", "gateway,*"),
        ("--admin-callers", "two words"),
        ("--health-addr", "nowhere"),
        ("--max-connections", "many"),
        ("--max-head-bytes", "80"),
        ("--keepalive-ms", "0"),
        ("--write-timeout-ms", "0"),
    ] {
        let error = parsed(&[&format!("{flag}={value}")]).expect_err(flag);
        assert!(error.to_string().contains(flag), "{error}");
    }
}

#[test]
fn a_seam_that_is_embedded_and_must_not_be_is_named() {
    let real = [
        "--embedded=deny",
        "--remote=redis://r",
        "--database=postgres://d",
    ];
    assert_eq!(parsed(&real).expect("flags").seams.check(), Ok(()));
    let error = |flags: &[&str]| {
        parsed(flags)
            .expect("flags")
            .seams
            .check()
            .expect_err("embedded")
            .to_string()
    };
    assert!(
        error(&["--embedded=deny", "--database=postgres://d"])
            .starts_with("--remote (REDIS_URL) is hub:")
    );
    assert!(
        error(&["--embedded=deny", "--remote=redis://r"])
            .starts_with("--database (DATABASE_URL) is sqlite:")
    );
}

#[test]
fn one_address_has_less_than_all_connections_unless_it_is_said() {
    let bounds = |flags: &[&str]| parsed(flags).expect("flags").serving.connecting.bounds();
    assert_eq!(
        bounds(&["--max-connections=4096"]).connections_per_peer,
        3072
    );
    let said = ["--max-connections=4096", "--max-connections-per-peer=5"];
    assert_eq!(bounds(&said).connections_per_peer, 5);
    assert_eq!(bounds(&[]), crate::bounds::Bounds::DEFAULT);
}

#[test]
fn addresses_may_leave_out_or_name_the_host() {
    for (text, expected) in [
        (":7101", "0.0.0.0:7101"),
        ("localhost:7101", "127.0.0.1:7101"),
        ("10.1.2.3:7101", "10.1.2.3:7101"),
        ("[::1]:7101", "[::1]:7101"),
    ] {
        assert_eq!(listen_address(text).expect(text).to_string(), expected);
    }
}

#[test]
fn what_is_printed_is_what_counts_and_secrets_are_starred() {
    let flags = [
        "--remote=redis://:hush@r:6379",
        "--grpc-addr=:1",
        "--larder-admin-addr=:2",
        "--rate-limit-ip=100/s",
        "--trusted-proxies=10.0.0.0/8,::1",
    ];
    let text = parsed(&flags).expect("flags").shown(7101, 9101).to_string();
    for line in [
        "grpc-addr = 0.0.0.0:1\n",
        "admin-addr = 0.0.0.0:2\n",
        "remote = redis://:***@r:6379\n",
        "migrate = auto\n",
        "warm-seconds = 3\n",
        "max-connections = 16384\n",
        "max-connections-per-peer = 12288\n",
        "head-timeout-ms = 20000\n",
        "rate-limit-ip = 100/s\n",
        "rate-burst-ip = 100\n",
        "rate-limit-user = none\n",
        "trusted-proxies = 10.0.0.0/8,::1/128\n",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    assert!(!text.contains("hush"));
}

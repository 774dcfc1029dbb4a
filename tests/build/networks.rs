//! The networks of steps, in a machine that the test makes: a network namespace for it, and one behind it for the world.
//!
//! The whole builder runs in the machine. In the world and on the machine's addresses are servers that say where one is; nothing
//! leaves the namespaces, and what is left behind is looked for from the machine.

use crate::support::{Outcome, TestEnv, process, require_capability};

/// Makes the world, and servers: `machine` on all addresses of the machine, `loopback` on its loopback only, `world`.
const WORLD: &str = r#"
ip link set lo up
unshare --net sleep 1000 & world=$!
until [ "$(readlink /proc/$world/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
ip link add out type veth peer name in netns $world
ip address add 203.0.113.1/24 dev out
ip link set out up
nsenter -t $world -n sh -c 'ip address add 203.0.113.2/24 dev in; ip link set in up; ip link set lo up'
ip route add default via 203.0.113.2
for place in world machine loopback; do mkdir -p www/$place; echo "this is $place" >www/$place/who; done
nsenter -t $world -n busybox httpd -f -p 203.0.113.2:80 -h www/world &
busybox httpd -f -p 203.0.113.1:81 -h www/machine &
busybox httpd -f -p 127.0.0.1:82 -h www/loopback &
perl -e 'use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack("S a*", AF_UNIX, "\0of-the-machine")) or die; listen(S, 1); sleep 1000' &
until grep -q @of-the-machine /proc/net/unix; do sleep 0.01; done
until busybox wget -q -O /dev/null http://127.0.0.1:82/who; do sleep 0.01; done
until busybox wget -q -O /dev/null http://203.0.113.2/who; do sleep 0.01; done
cp "$(command -v busybox)" context/busybox
only() { mkdir -p "bin-$1"; [ "$1" = none ] || ln -sf "$(command -v $1)" "bin-$1/$1"; PATH_OF_BUILDER=$PWD/bin-$1; }
PATH_OF_BUILDER=$PATH
builder() { PATH=$PATH_OF_BUILDER "$BUILDER" build --progress plain --root root --no-cache "$@" context 2>&1; }
carriers() { for f in /proc/[0-9]*/comm; do cat $f 2>/dev/null; done | grep -E '^(passt|pasta|slirp|builder|exe$)' | sort -u | tr '\n' ' '; }
"#;

/// What a step asks, each with an answer in one line.
const ASK: &str = r#"
get() { printf 'GET /who HTTP/1.0\r\n\r\n' | timeout 5 nc -w "$1" "$2" "$3" 2>/dev/null | grep '^this is' || echo nobody; }
ask() { echo "$1: $(get 2 "$2" "$3")"; }
asks() {
  ask world 203.0.113.2 80; ask machine 203.0.113.1 81; ask loopback 127.0.0.1 82
  ask gateway "$(awk '$2 == "me" { print $1 }' /etc/hosts)" 81
  echo "abstract: $(grep -c @of-the-machine /proc/net/unix)"
}
"#;

/// Runs a script in a new machine, with a Dockerfile whose one step asks.
#[track_caller]
fn in_machine(env: &TestEnv, dockerfile: &str, script: &str) -> Outcome {
    env.write("context/ask", ASK);
    env.write("context/Dockerfile", dockerfile);
    let script = format!("set -eu\n{WORLD}\n{script}");
    let mut command = env.tool("unshare");
    command
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child"])
        .args(["--mount-proc", "sh", "-c", &script])
        .env("BUILDER", env!("CARGO_BIN_EXE_builder"))
        .current_dir(env.path(""));
    let outcome = process::run(&mut command);
    outcome.succeeded()
}

/// A Dockerfile of one image with busybox.
fn dockerfile(steps: &str) -> String {
    format!(
        "FROM scratch\nCOPY busybox ask /bin/\n\
         RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
         SHELL [\"/bin/busybox\", \"sh\", \"-c\"]\n{steps}\n"
    )
}

#[track_caller]
fn assert_answers(outcome: &Outcome, expected: &[&str]) {
    for line in expected {
        let all = &outcome.stdout;
        assert!(all.lines().any(|l| l.ends_with(line)), "{line} in:\n{all}");
    }
}

/// An isolated step reaches the world and the machine's services, and not the machine's loopback.
fn isolated(carrier: &'static str) {
    let env = TestEnv::new();
    let dockerfile = dockerfile("RUN . /bin/ask; asks; cat /etc/resolv.conf; ip address show eth0");
    let script = format!(
        "only {carrier}; builder --add-host me=host-gateway --dns 203.0.113.9 --dns-search x.test; \
         echo \"left: $(carriers)$(ip -o link | wc -l) links\""
    );
    let outcome = in_machine(&env, &dockerfile, &script);
    let answers = [
        "world: this is world",
        "machine: this is machine",
        "loopback: nobody",
        "gateway: this is machine",
        "abstract: 0",
        "search x.test",
        "nameserver 203.0.113.9",
        "left: 2 links",
    ];
    assert_answers(&outcome, &answers);
    let text = &outcome.stdout;
    assert!(!text.contains("machine's network"), "{text}");
}

#[test]
fn a_step_reaches_the_world_through_pasta() {
    require_capability!(
        Root,
        Overlay,
        Program("busybox"),
        Program("ip"),
        Program("pasta")
    );
    isolated("pasta");
}

#[test]
fn a_step_reaches_the_world_through_slirp4netns() {
    require_capability!(
        Root,
        Overlay,
        Program("busybox"),
        Program("ip"),
        Program("slirp4netns")
    );
    isolated("slirp4netns");
}

/// As an ordinary user, who may use the device that networks in programs take, as everybody may on most machines.
fn without_root(carrier: &'static str) {
    let env = TestEnv::new();
    let dockerfile =
        dockerfile("RUN . /bin/ask; ask world 203.0.113.2 80; ask loopback 127.0.0.1 82");
    let script = format!(
        "only {carrier}; mount -t tmpfs none /dev/net; mknod -m 666 /dev/net/tun c 10 200
         mount -t tmpfs none /var/tmp; cp \"$BUILDER\" /var/tmp/builder; cp -r context \"bin-{carrier}\" /var/tmp/
         mkdir -m 777 /var/tmp/home; cd /var/tmp; BUILDER=/var/tmp/builder
         PATH=/var/tmp/bin-{carrier} HOME=/var/tmp/home /usr/bin/setpriv --reuid=4242 --regid=4242 --clear-groups \
           $BUILDER build --progress plain --root home/root context 2>&1
         sleep 0.2; echo \"left: $(carriers)\""
    );
    let outcome = in_machine(&env, &dockerfile, &script);
    assert_answers(
        &outcome,
        &["world: this is world", "loopback: nobody", "left: "],
    );
    let text = &outcome.stdout;
    assert!(text.contains("steps run without root"), "{text}");
    assert!(!text.contains("machine's network"), "{text}");
}

#[test]
fn a_user_without_root_reaches_the_world_through_pasta() {
    require_capability!(
        Root,
        Overlay,
        UserNamespaces,
        Program("busybox"),
        Program("ip"),
        Program("pasta")
    );
    without_root("pasta");
}

#[test]
fn a_user_without_root_reaches_the_world_through_slirp4netns() {
    require_capability!(
        Root,
        Overlay,
        UserNamespaces,
        Program("busybox"),
        Program("ip"),
        Program("slirp4netns")
    );
    without_root("slirp4netns");
}

#[test]
fn without_a_helper_steps_are_on_the_machines_network_and_a_line_says_so_once() {
    require_capability!(Root, Overlay, Program("busybox"), Program("ip"));
    let env = TestEnv::new();
    let dockerfile = dockerfile("RUN . /bin/ask; asks\nRUN echo second");
    let outcome = in_machine(
        &env,
        &dockerfile,
        "only none; builder --add-host me:host-gateway",
    );
    let line = "warning: RUN steps are on the machine's network: neither `pasta` (package `passt`) nor `slirp4netns` is here";
    let times = outcome.stdout.lines().filter(|l| *l == line).count();
    assert_eq!(times, 1, "{}", outcome.stdout);
    assert_answers(
        &outcome,
        &["world: this is world", "loopback: this is loopback"],
    );
}

#[test]
fn none_reaches_nothing_and_host_everything() {
    require_capability!(Root, Overlay, Program("busybox"), Program("ip"));
    let env = TestEnv::new();
    let dockerfile = dockerfile("RUN . /bin/ask; asks; echo links: $(ip -o link | wc -l)");
    let none = in_machine(
        &env,
        &dockerfile,
        "builder --network none --add-host me=host-gateway",
    );
    let answers = [
        "world: nobody",
        "machine: nobody",
        "loopback: nobody",
        "gateway: nobody",
        "abstract: 0",
        "links: 1",
    ];
    assert_answers(&none, &answers);
    let host = in_machine(
        &env,
        &dockerfile,
        "builder --network host --add-host me=host-gateway",
    );
    let answers = [
        "world: this is world",
        "machine: this is machine",
        "loopback: this is loopback",
        "abstract: 1",
    ];
    assert_answers(&host, &answers);
    // By its own address nobody listens on the loopback.
    assert_answers(&host, &["gateway: nobody"]);
}

#[test]
fn a_step_joins_a_namespace_by_its_path() {
    require_capability!(Root, Overlay, Program("busybox"), Program("ip"));
    let env = TestEnv::new();
    let dockerfile = dockerfile("RUN . /bin/ask; asks; ip -o address");
    let outcome = in_machine(
        &env,
        &dockerfile,
        "builder --network ns:/proc/$world/ns/net; builder --network ns:/proc/$world/ns/net --print plan",
    );
    assert_answers(&outcome, &["world: this is world", "loopback: nobody"]);
    let text = &outcome.stdout;
    assert!(
        text.contains("203.0.113.2/24") && text.contains("network ns:/proc/"),
        "{text}"
    );
    let missing = "builder --network ns:/run/netns/missing || true";
    let outcome = in_machine(&env, &dockerfile, missing);
    let words = "cannot join the network namespace `/run/netns/missing`";
    assert!(outcome.stdout.contains(words), "{}", outcome.stdout);
}

#[test]
fn two_steps_at_once_use_one_port_and_do_not_see_each_other() {
    require_capability!(
        Root,
        Overlay,
        Program("busybox"),
        Program("ip"),
        Program("pasta")
    );
    let env = TestEnv::new();
    // Each serves on the port, and asks the addresses that the other may have.
    let step = "RUN . /bin/ask; mkdir /w; echo this is a step >/w/who; httpd -p 8000 -h /w; sleep 1; \
                for host in 1 2 5 6 9 10 13 14; do \
                echo asks $host: $(get 1 198.18.1.$host 8000); done";
    let base = dockerfile("");
    let base = base.replacen("FROM scratch", "FROM scratch AS base", 1);
    let text = format!(
        "{base}FROM base AS one\n{step}; touch /one\nFROM base AS two\n{step}; touch /two\n\
                        FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n"
    );
    let outcome = in_machine(&env, &text, "builder --jobs 2");
    let reached = outcome
        .stdout
        .lines()
        .filter(|l| l.contains(": this is a step"))
        .count();
    // Itself, each of the two.
    assert_eq!(reached, 2, "{}", outcome.stdout);
}

#[test]
fn a_killed_builder_leaves_no_helper_and_no_link() {
    require_capability!(
        Root,
        Overlay,
        Program("busybox"),
        Program("ip"),
        Program("pasta"),
        Program("slirp4netns")
    );
    let env = TestEnv::new();
    let dockerfile = dockerfile("RUN echo begun; sleep 500");
    let keeper = "$(busybox pgrep -f 'sandbox-init keep')";
    for (carrier, name, also) in [
        ("pasta", "passt", ""),
        ("slirp4netns", "slirp", ""),
        ("pasta", "passt", keeper),
        ("slirp4netns", "slirp", keeper),
    ] {
        let script = format!(
            "only {carrier}; PATH=$PATH_OF_BUILDER \"$BUILDER\" build --progress plain --root root --no-cache context >log 2>&1 & builder=$!
             until grep -q '[0-9] begun' log; do sleep 0.05; done
             until carriers | grep -q {name}; do sleep 0.05; done
             before=$(carriers); kill -9 $builder {also}
             for i in $(seq 100); do [ -z \"$(carriers)\" ] && break; sleep 0.05; done
             echo \"before: $before\"; echo \"after: $(carriers)$(ip -o link | wc -l) links\""
        );
        let outcome = in_machine(&env, &dockerfile, &script);
        let before = outcome.stdout.lines().find(|l| l.starts_with("before:"));
        assert!(
            before.is_some_and(|l| l.contains(name)),
            "{}",
            outcome.stdout
        );
        assert!(
            outcome.stdout.contains("after: 2 links"),
            "{}",
            outcome.stdout
        );
    }
}

#[test]
fn when_the_helper_is_killed_the_next_step_has_another() {
    require_capability!(
        Root,
        Overlay,
        Program("busybox"),
        Program("ip"),
        Program("pasta")
    );
    let env = TestEnv::new();
    let dockerfile = dockerfile("RUN echo be''gun; sleep 2\nRUN . /bin/ask; asks");
    let script = r#"
        only pasta; builder >log & builder=$!
        until grep -q ' begun' log; do sleep 0.05; done
        for process in /proc/[0-9]*; do
          case "$(cat $process/comm 2>/dev/null)" in passt*|pasta*) kill -9 "${process#/proc/}"; echo killed one;; esac
        done
        wait $builder; cat log; echo "left: $(carriers)$(ip -o link | wc -l) links""#;
    let outcome = in_machine(&env, &dockerfile, script);
    let answers = [
        "killed one",
        "world: this is world",
        "loopback: nobody",
        "left: 2 links",
    ];
    assert_answers(&outcome, &answers);
}

#[test]
fn an_interrupt_does_not_wait_for_a_helper_that_does_not_get_ready() {
    require_capability!(Root, Overlay, Program("busybox"), Program("ip"));
    let env = TestEnv::new();
    let dockerfile = dockerfile("RUN true");
    // Each of the two would be waited for ten seconds.
    let script = r#"
        mkdir bin-slow; for name in pasta slirp4netns; do
          printf '#!/bin/sh\necho $$ >%s/started; exec sleep 1000\n' "$PWD" >bin-slow/$name; chmod +x bin-slow/$name
        done
        PATH=$PWD/bin-slow "$BUILDER" build --root root --no-cache context >log 2>&1 & builder=$!
        until [ -s started ]; do sleep 0.05; done
        kill -INT $builder; begun=$(date +%s); status=0; wait $builder || status=$?
        echo "status $status, seconds: $(($(date +%s) - begun))"
        [ -e /proc/$(cat started) ] || echo helper gone"#;
    let outcome = in_machine(&env, &dockerfile, script);
    assert_answers(&outcome, &["helper gone"]);
    let text = &outcome.stdout;
    let in_time = |seconds: u32| text.contains(&format!("status 130, seconds: {seconds}"));
    assert!((0..5).any(in_time), "{text}");
}

#[test]
fn a_step_cannot_send_from_the_address_of_another() {
    require_capability!(
        Root,
        Overlay,
        Program("busybox"),
        Program("ip"),
        Program("pasta")
    );
    let env = TestEnv::new();
    // The first packet of a connection is enough for `pasta` to make one in the world.
    let dockerfile = dockerfile(
        "RUN . /bin/ask; get 1 203.0.113.2 84\n\
         RUN --security=insecure . /bin/ask; gateway=$(ip route | awk '$1 == \"default\" { print $3 }'); \
         ip address add 198.18.200.2/32 dev eth0; ip route del default; \
         ip route add default via $gateway dev eth0 src 198.18.200.2; ip route; get 1 203.0.113.2 85",
    );
    let script = r#"
        for port in 84 85; do
          nsenter -t $world -n busybox nc -ll -p $port -e "$(command -v touch)" "$PWD/arrived-$port" &
        done
        only pasta; builder --allow security.insecure; ls"#;
    let outcome = in_machine(&env, &dockerfile, script);
    assert_answers(&outcome, &["src 198.18.200.2", "arrived-84"]);
    let text = &outcome.stdout;
    assert!(!text.contains("arrived-85"), "{text}");
}

//! Findings about made-up machines.

use super::case::Case;
use super::finding::{Finding, Level, count, json, text};
use super::system::{Abilities, Survey, System, kernel_arguments, size};
use super::test_machines::{FLAGS, Tree, asked, bad, config, examined, the, told, x710};
use super::{CHECKS, hugepages};
use crate::config::Config;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

#[test]
fn a_server_that_has_all_it_needs() {
    let tree = Tree::server();
    let findings = examined(&asked(tree.system(), &x710()), &[]);
    let unseen = [
        "unknown port.link 0000:3b:00.0",
        "unknown port.link 3b:00.1",
    ];
    assert_eq!(
        bad(&findings),
        ["unknown port.link 0000:3b:00.0", unseen[1]]
    );
    let plan = the(&findings, "cpu.plan", "workers");
    assert_eq!(plan.found, "workers: 3, security workers: 1, on CPUs 4-7");
    let pages = the(&findings, "memory.hugepages", "node 1");
    assert_eq!(
        pages.found,
        "512 of 512 pages of 2M free, 0 of 0 pages of 1G free; needed 64 MiB"
    );
}

#[test]
fn without_huge_pages_each_node_has_its_command() {
    let tree = Tree::server();
    tree.pages(0, "2048", 0).pages(1, "2048", 10);
    let findings = examined(&asked(tree.system(), &x710()), &[]);
    let home = the(&findings, "memory.hugepages", "node 0");
    assert_eq!(
        told(home),
        (
            Level::Warning,
            "0 of 0 pages of 2M free, 0 of 0 pages of 1G free; needed 128 MiB",
            "hugepages/reserve --node 0 128 2M"
        )
    );
    let near = the(&findings, "memory.hugepages", "node 1");
    assert_eq!(near.command, "hugepages/reserve --node 1 64 2M");
    // Pages that others have stay theirs.
    let folder = "sys/devices/system/node/node1/hugepages/hugepages-2048kB";
    tree.write(&format!("{folder}/free_hugepages"), "4");
    let findings = examined(&asked(tree.system(), &x710()), &[]);
    let near = the(&findings, "memory.hugepages", "node 1");
    assert_eq!(near.command, "hugepages/reserve --node 1 76 2M");
}

#[test]
fn the_sum_of_huge_pages() {
    let tree = Tree::server();
    let config = config(&["capture.queues=4", "capture.descriptors=2048"]);
    let system = tree.system();
    let expected = "\
# node 0
#    134,217,728  DPDK itself: tables, rings, pool headers
#    134,217,728  bytes in all
#             64  pages of 2M
#              1  pages of 1G
hugepages/reserve --node 0 128 2M
# node 1
#     24,551,424  port 0000:3b:00.0: (4 queues x (2048 descriptors + 448) + 384) x 2368 bytes
#     24,551,424  port 3b:00.1: (4 queues x (2048 descriptors + 448) + 384) x 2368 bytes
#     49,102,848  bytes in all
#             24  pages of 2M
#              1  pages of 1G
hugepages/reserve --node 1 48 2M
";
    assert_eq!(
        hugepages::table(&Case::new(&system, &config, None)),
        expected
    );
    tree.write("usr/lib/wirelynx/hugepages/reserve", "");
    let table = hugepages::table(&Case::new(&system, &config, None));
    let installed = "\n/usr/lib/wirelynx/hugepages/reserve --node 1 48 2M\n";
    assert!(table.contains(installed), "{table}");
    // Where there are pages of 1 GiB, and no node, these are counted.
    tree.remove("sys/devices/system/node");
    let folder = "sys/kernel/mm/hugepages/hugepages-1048576kB";
    tree.write(&format!("{folder}/nr_hugepages"), "1");
    let table = hugepages::table(&Case::new(&system, &config, None));
    assert!(table.contains("hugepages/reserve 1024 1G\n"), "{table}");
}

#[test]
fn a_port_that_the_kernel_has() {
    let tree = Tree::server();
    tree.kernel_port("0000:3b:00.0", 0x1572, "i40e", "ens1f0");
    let findings = examined(&tree.system(), &[]);
    assert_eq!(
        told(the(&findings, "port.driver", "0000:3b:00.0")),
        (
            Level::Failure,
            "i40e, interface ens1f0",
            "dpdk-devbind.py -b vfio-pci 0000:3b:00.0"
        )
    );
    let blocked = the(&findings, "iommu.group", "3b:00.1");
    assert_eq!(
        told(blocked),
        (
            Level::Failure,
            "0000:3b:00.0 of its group is with the kernel's driver i40e",
            "dpdk-devbind.py -b vfio-pci 0000:3b:00.0"
        )
    );
    let link = the(&findings, "port.link", "0000:3b:00.0");
    assert_eq!(link.found, "ens1f0 up, 10000 Mbit/s");

    // The package has a script that refuses what would cut the operator off.
    tree.write("usr/lib/wirelynx/bind-port", "");
    let findings = examined(&tree.system(), &[]);
    for (id, port) in [("port.driver", "0000:3b:00.0"), ("iommu.group", "3b:00.1")] {
        let ours = "/usr/lib/wirelynx/bind-port 0000:3b:00.0";
        assert_eq!(the(&findings, id, port).command, ours);
    }
    let link = the(&findings, "port.link", "3b:00.1");
    assert_eq!(link.command, "wirelynx top --once --page 2 # while it runs");
    assert!(link.found.starts_with("vfio-pci has it"), "{link:?}");

    // Whoever binds the port of the default route loses the machine.
    let route = "Iface Destination Gateway\nens1f0 00000000 0100A8C0";
    tree.write("proc/net/route", route);
    let findings = examined(&tree.system(), &[]);
    let driver = the(&findings, "port.driver", "0000:3b:00.0");
    assert!(
        driver.found.ends_with("carries the default route"),
        "{driver:?}"
    );
    assert!(driver.command.contains("iface=ens1f0"), "{driver:?}");

    tree.remove("sys/bus/pci/devices/0000:3b:00.0");
    let findings = examined(&tree.system(), &[]);
    let gone = the(&findings, "port.device", "0000:3b:00.0");
    assert_eq!(gone.level, Level::Failure);
}

#[test]
fn a_port_with_too_few_queues() {
    let tree = Tree::server();
    tree.port("0000:3b:00.0", 0x10fb, "vfio-pci");
    let findings = examined(&tree.system(), &["capture.queues=32"]);
    assert_eq!(
        told(the(&findings, "port.queues", "0000:3b:00.0")),
        (
            Level::Failure,
            "capture.queues is 32, but it has 16 at most",
            "wirelynx run -X capture.queues=16"
        )
    );
    assert_eq!(
        the(&findings, "port.queues", "3b:00.1").level,
        Level::Ok,
        "an X710 has 64"
    );

    // What the driver says counts more.
    let few = Abilities {
        queues: 2,
        ..x710()
    };
    let findings = examined(&asked(tree.system(), &few), &["capture.queues=4"]);
    let queues = the(&findings, "port.queues", "0000:3b:00.0");
    assert_eq!(queues.found, "capture.queues is 4, but it has 2 at most");
    let findings = examined(
        &asked(tree.system(), &few),
        &["capture.queues=1", "workers.count=4"],
    );
    let queues = the(&findings, "port.queues", "0000:3b:00.0");
    assert_eq!(queues.level, Level::Ok, "no more workers than queues");
    let plan = the(&findings, "cpu.plan", "workers");
    assert_eq!(
        (plan.level, plan.command.as_str()),
        (Level::Warning, "wirelynx run -X workers.count=1")
    );

    let findings = examined(&tree.system(), &["capture.descriptors=8192"]);
    let descriptors = the(&findings, "port.descriptors", "3b:00.1");
    assert_eq!(
        descriptors.command,
        "wirelynx run -X capture.descriptors=8160"
    );
    assert_eq!(
        the(&findings, "port.descriptors", "0000:3b:00.0").level,
        Level::Ok
    );
}

#[test]
fn workers_on_another_node() {
    let tree = Tree::server();
    let findings = examined(&tree.system(), &["workers.cpus=[1,2,3]"]);
    assert_eq!(
        told(the(&findings, "port.node", "0000:3b:00.0")),
        (
            Level::Warning,
            "node 1, but workers are on CPUs 1-2 of another node",
            "wirelynx run -X workers.cpus=[4,5,6]"
        )
    );
    let isolation = the(&findings, "cpu.isolation", "workers");
    assert!(
        isolation.found.starts_with("isolcpus lacks 1-3"),
        "{isolation:?}"
    );
    assert!(
        isolation
            .command
            .contains("isolcpus=1-3 nohz_full=1-3 rcu_nocbs=1-3")
    );
    let findings = examined(&tree.system(), &["workers.cpus=[4,12]", "workers.count=2"]);
    let siblings = the(&findings, "cpu.siblings", "workers");
    assert_eq!(siblings.found, "on one core: 4,12");
    let findings = examined(&tree.system(), &["workers.cpus=[99]"]);
    let plan = the(&findings, "cpu.plan", "workers");
    assert_eq!(plan.level, Level::Failure);
    assert!(plan.found.contains("there is no CPU 99"), "{plan:?}");
}

#[test]
fn firmware_that_is_too_old() {
    let tree = Tree::server();
    let old = Abilities {
        firmware: "8.30 0x8000a4ae 1.2926.0".to_owned(),
        ..x710()
    };
    let findings = examined(&asked(tree.system(), &old), &[]);
    let firmware = the(&findings, "port.firmware", "0000:3b:00.0");
    let expected =
        "8.30 0x8000a4ae 1.2926.0 is older than 9.01 (DPDK 22.11, i40e guide, matching list)";
    assert_eq!(firmware.level, Level::Warning);
    assert!(firmware.found.starts_with(expected), "{firmware:?}");

    // A port that the kernel has is asked through its interface.
    tree.kernel_port("0000:3b:00.0", 0x1572, "i40e", "ens1f0");
    let mut system = tree.system();
    let firmware = |system: &System| {
        let findings = examined(system, &[]);
        the(&findings, "port.firmware", "0000:3b:00.0").clone()
    };
    let unseen = firmware(&system);
    assert_eq!(
        (unseen.level, unseen.command.as_str()),
        (Level::Unknown, "ethtool -i ens1f0")
    );
    system.adapter = |name| {
        (name == "ens1f0").then(|| kernel::Adapter {
            driver: "i40e".to_owned(),
            firmware: "6.01 0x800035cf 1.1747.0".to_owned(),
        })
    };
    assert_eq!(firmware(&system).level, Level::Warning);
}

#[test]
fn an_e810_without_its_package() {
    let tree = Tree::server();
    tree.port("0000:3b:00.0", 0x1593, "vfio-pci");
    let of = |tree: &Tree| {
        let findings = examined(&tree.system(), &[]);
        the(&findings, "port.package", "0000:3b:00.0").level
    };
    assert_eq!(of(&tree), Level::Warning);
    tree.write("lib/firmware/intel/ice/ddp/ice.pkg", "x");
    assert_eq!(of(&tree), Level::Ok);
}

#[test]
fn a_group_that_may_not_be_opened() {
    let tree = Tree::server();
    let access = |system: &System| {
        let findings = examined(system, &[]);
        let found = findings.iter().filter(|f| f.check.id == "iommu.access");
        let found = found.map(|f| (f.level, f.found.clone(), f.command.clone()));
        found.collect::<Vec<_>>()
    };
    // Both ports are of group 7.
    assert_eq!(access(&tree.system()), [], "no file, nothing to tell");
    tree.write("dev/vfio/7", "");
    let fine = access(&tree.system());
    let text = "/dev/vfio/7 can be opened".to_owned();
    assert_eq!(fine, vec![(Level::Ok, text, String::new()); 2]);

    let mut system = tree.system();
    system.accessible = |path| !path.ends_with("dev/vfio/7");
    tree.write(
        "proc/self/status",
        "Uid:\t0\t995\t995\t995\nGid:\t0\t994\t994\t994",
    );
    let refused = |command: &str| {
        let text = "user 995 may not open /dev/vfio/7".to_owned();
        vec![(Level::Failure, text, command.to_owned()); 2]
    };
    let rule = "lib/udev/rules.d/60-wirelynx.rules";
    tree.write(rule, "")
        .write("etc/group", "root:x:0:\nwirelynx:x:994:");
    let again = "udevadm control --reload && udevadm trigger --subsystem-match=vfio";
    assert_eq!(access(&system), refused(again));
    // The rule does not help another user, and nobody where it is not installed.
    tree.write("etc/group", "root:x:0:\nwirelynx:x:995:");
    assert_eq!(access(&system), refused("chown 995 /dev/vfio/7"));
    tree.write("etc/group", "wirelynx:x:994:").remove(rule);
    assert_eq!(access(&system), refused("chown 995 /dev/vfio/7"));
}

#[test]
fn without_an_iommu() {
    let tree = Tree::server();
    tree.remove("sys/kernel/iommu_groups");
    let iommu = |tree: &Tree, settings: &[&str]| {
        let findings = examined(&tree.system(), settings);
        the(&findings, "iommu.enabled", "machine").clone()
    };
    let off = iommu(&tree, &[]);
    assert_eq!(
        (off.level, off.found.as_str()),
        (Level::Failure, "off: no groups")
    );
    assert!(off.command.contains("intel_iommu=on iommu=pt"), "{off:?}");
    let virtual_only = iommu(&tree, &["capture.ports=[\"net_null0\"]"]);
    assert_eq!(virtual_only.level, Level::Ok);
    let without_port = iommu(&tree, &["capture.ports=[]"]);
    assert_eq!(without_port.level, Level::Warning);
    tree.write(
        "proc/cpuinfo",
        &format!("vendor_id : AuthenticAMD\nflags : {FLAGS}"),
    );
    assert!(iommu(&tree, &[]).command.contains("amd_iommu=on"));
    tree.write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y");
    assert_eq!(iommu(&tree, &[]).level, Level::Warning);
}

#[test]
fn a_slot_with_too_few_lanes() {
    let tree = Tree::server();
    tree.write("sys/bus/pci/devices/0000:3b:00.0/current_link_width", "4");
    let findings = examined(&tree.system(), &[]);
    let lanes = the(&findings, "port.pcie", "0000:3b:00.0");
    assert_eq!(
        told(lanes),
        (
            Level::Warning,
            "8 GT/s x4, 32 Gbit/s; the adapter can 8 GT/s x8",
            "lspci -vv -s 0000:3b:00.0 | grep Lnk"
        )
    );
}

#[test]
fn a_processor_without_what_dpdk_needs() {
    let tree = Tree::server();
    let of = |tree: &Tree, id: &str, subject: &str| {
        let findings = examined(&tree.system(), &[]);
        the(&findings, id, subject).clone()
    };
    tree.write(
        "proc/cpuinfo",
        "flags : sse2 pni ssse3 sse4_1 popcnt constant_tsc",
    );
    assert_eq!(of(&tree, "cpu.flags", "processor").found, "it lacks sse4_2");
    let clock = of(&tree, "cpu.clock", "time stamp counter");
    assert!(clock.found.contains("no nonstop_tsc"), "{clock:?}");
    tree.write("proc/cpuinfo", &format!("flags : {FLAGS}"));
    let source = "sys/devices/system/clocksource/clocksource0";
    tree.write(&format!("{source}/current_clocksource"), "hpet");
    let clock = of(&tree, "cpu.clock", "clock source");
    assert_eq!(
        clock.command,
        format!("echo tsc > /{source}/current_clocksource")
    );
    tree.write(
        "sys/devices/system/cpu/cpu5/cpufreq/scaling_governor",
        "powersave",
    );
    assert_eq!(of(&tree, "cpu.governor", "CPUs 5").level, Level::Warning);
    assert_eq!(of(&tree, "cpu.governor", "CPUs 4,6-7").level, Level::Ok);
}

#[test]
fn memory_that_does_not_suffice() {
    let tree = Tree::server();
    let of = |tree: &Tree, settings: &[&str]| {
        let findings = examined(&tree.system(), settings);
        the(&findings, "memory.total", "machine").clone()
    };
    assert_eq!(of(&tree, &[]).level, Level::Ok);
    let many = of(&tree, &["flows.flows_max=100000000"]);
    assert_eq!(many.level, Level::Failure, "{many:?}");
    assert_eq!(many.command, "wirelynx run -X flows.flows_max=25000000");
    let many = of(
        &tree,
        &[
            "limits.instances_total=100000000",
            "limits.instances_per_rule=100000000",
        ],
    );
    assert_eq!(many.level, Level::Warning, "{many:?}");
    // A limit somewhere above counts, less what is in use.
    tree.write("proc/self/cgroup", "0::/system.slice/wirelynx.service")
        .write(
            "sys/fs/cgroup/system.slice/wirelynx.service/memory.max",
            "max",
        )
        .write("sys/fs/cgroup/system.slice/memory.max", "209715200")
        .write("sys/fs/cgroup/system.slice/memory.current", "104857600");
    let limited = of(&tree, &[]);
    assert_eq!(limited.level, Level::Failure);
    assert!(
        limited
            .found
            .starts_with("100 MiB left by the control group;"),
        "{limited:?}"
    );
    tree.write("proc/self/cgroup", "4:memory:/a")
        .write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824");
    assert!(of(&tree, &[]).found.starts_with("1024 MiB left"));
}

#[test]
fn a_user_that_may_not_lock_memory() {
    let tree = Tree::server();
    let limits = "Limit Soft Hard Units\nMax locked memory         8388608      8388608      bytes";
    tree.write("proc/self/limits", limits).write(
        "proc/self/status",
        "Uid:\t990\t990\t990\t990\nCapEff:\t0000000000002000",
    );
    let system = tree.system();
    assert!(!system.is_root() && system.user() == 990);
    let findings = examined(&system, &[]);
    let lock = the(&findings, "memory.lock", "process");
    assert_eq!(
        told(lock),
        (
            Level::Failure,
            "at most 8 MiB, needed 192 MiB",
            "systemctl edit wirelynx # [Service] LimitMEMLOCK=infinity"
        )
    );
    tree.write(
        "proc/self/limits",
        "Max locked memory         unlimited  unlimited  bytes",
    );
    let findings = examined(&system, &[]);
    assert_eq!(the(&findings, "memory.lock", "process").level, Level::Ok);
    let findings = examined(&system, &["capture.ports=[\"net_null0\"]"]);
    assert!(
        !findings
            .iter()
            .any(|finding| finding.check.id == "memory.lock")
    );
}

#[test]
fn clocks() {
    let tree = Tree::server();
    let mut system = tree.system();
    let of = |system: &System| super::time::check(system);
    let good = of(&system);
    let expected = "steered by chrony; off by 0.020 ms by estimate, 1.000 ms at most";
    assert_eq!((good.level, good.found.as_str()), (Level::Ok, expected));
    let clock = system.clock.as_mut().unwrap();
    clock.error_max = Duration::from_secs(2);
    assert_eq!(of(&system).level, Level::Warning);
    system.clock.as_mut().unwrap().synchronized = false;
    assert_eq!(of(&system).found, "chrony runs, but does not steer it yet");
    tree.remove("run/chrony");
    assert_eq!(of(&system).found, "nobody steers it");
    system.clock = None;
    assert_eq!(of(&system).level, Level::Unknown);
}

#[test]
fn files_and_interfaces_behind_ports() {
    let tree = Tree::server();
    tree.write("sys/class/net/eth1/carrier", "0");
    let here = tree.0.path().join("proc/cpuinfo").display().to_string();
    let ports = format!(
        "capture.ports=[\"net_af_packet0,iface=eth1,qpairs=2\",\"net_af_packet1,iface=eth9\",\
         \"net_pcap0,rx_pcap={here},rx_pcap={here}\",\"net_pcap1,rx_pcap=/nowhere\",\"net_null0\",\"eth1\"]"
    );
    let findings = examined(&tree.system(), &[&ports, "capture.queues=2"]);
    let of = |id, port| the(&findings, id, port);
    assert_eq!(of("port.device", "net_af_packet0").level, Level::Ok);
    assert!(
        of("port.link", "net_af_packet0")
            .found
            .contains("no carrier")
    );
    assert_eq!(
        of("port.queues", "net_af_packet0").found,
        "2 of 2 for 2 workers"
    );
    let gone = of("port.device", "net_af_packet1");
    assert_eq!(
        (gone.level, gone.found.as_str()),
        (Level::Failure, "there is no interface eth9")
    );
    assert_eq!(of("port.queues", "net_pcap0").level, Level::Ok);
    let gone = of("port.device", "net_pcap1");
    assert!(gone.found.starts_with("/nowhere: No such file"), "{gone:?}");
    assert_eq!(of("port.device", "net_null0").level, Level::Ok);
    let interface = of("port.device", "eth1");
    let command = "wirelynx run -X capture.ports='[\"net_af_packet0,iface=eth1\"]'";
    assert_eq!(
        (interface.level, interface.command.as_str()),
        (Level::Failure, command)
    );
}

#[test]
fn outputs_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let tree = Tree::server();
    let of = |alerts: &str, socket: &str| {
        let settings = [
            format!("output.alerts={alerts}"),
            format!("control.socket={socket}"),
        ];
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        examined(&tree.system(), &settings)
    };
    let findings = of(&path("alerts.jsonl"), &path("socket"));
    let good = the(
        &findings,
        "output.files",
        &format!("output.alerts {}", path("alerts.jsonl")),
    );
    assert!(good.found.starts_with("can be written"), "{good:?}");
    let findings = of(&path("none/alerts.jsonl"), &path("none/socket"));
    let gone = the(
        &findings,
        "output.files",
        &format!("output.alerts {}", path("none/alerts.jsonl")),
    );
    assert_eq!(
        (gone.level, &gone.command),
        (Level::Failure, &format!("install -d {}", path("none")))
    );
    let socket = format!("control.socket {}", path("none/socket"));
    assert_eq!(
        the(&findings, "output.control", &socket).level,
        Level::Failure
    );

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = config(&[&format!("metrics.address={address}")]);
    let system = tree.system();
    let case = Case::new(&system, &config, None);
    let taken = super::outputs::metrics(&case);
    assert_eq!(taken.level, Level::Failure);
    assert_eq!(
        taken.command,
        format!("ss -ltnp 'sport = :{}'", address.port())
    );
    drop(listener);
    assert_eq!(super::outputs::metrics(&case).level, Level::Ok);
}

#[test]
fn rules_that_do_not_load() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("1.xml"),
        "<beginning><property/></beginning>",
    )
    .unwrap();
    let of = |setting: &str, strict: &str| {
        let settings = [
            format!("rules.paths=[\"{setting}\"]"),
            format!("rules.strict={strict}"),
        ];
        let (findings, rules) = super::rules::check(&Config::load(None, &settings).unwrap());
        assert_eq!(findings.len(), 1);
        (
            findings[0].level,
            rules.map_or(0, |rules| rules.programs.len()),
        )
    };
    let bad = folder.path().display().to_string();
    assert_eq!(of(&bad, "false"), (Level::Warning, 0));
    assert_eq!(of(&bad, "true"), (Level::Failure, 0));
    assert_eq!(of("/nowhere", "false"), (Level::Failure, 0));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let (level, rules) = of(&shipped.display().to_string(), "true");
    assert_eq!(level, Level::Ok);
    assert!(rules > 10);
}

/// What is well has no command; everything else has one. Nothing fails twice for one reason.
#[test]
fn every_finding_that_is_not_well_has_a_command() {
    let bare = tempfile::tempdir().unwrap();
    let nothing = System::at(bare.path(), vec![0]);
    let tree = Tree::server();
    tree.remove("sys/kernel/iommu_groups");
    for system in [nothing, tree.system()] {
        for settings in [&[][..], &["capture.ports=[]"], &["capture.queues=64"]] {
            let findings = examined(&system, settings);
            assert!(findings.len() > 5);
            for finding in &findings {
                assert_eq!(
                    finding.command.is_empty(),
                    finding.level == Level::Ok,
                    "{finding:?}"
                );
                assert!(CHECKS.contains(&finding.check), "{}", finding.check.id);
                assert!(!finding.found.contains('\n'), "{finding:?}");
            }
        }
    }
    let mut ids: Vec<&str> = CHECKS.iter().map(|check| check.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), CHECKS.len(), "each id once");
}

#[test]
fn the_schema_describes_the_document() {
    let schema = include_str!("../../../docs/doctor.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let findings = examined(&Tree::server().system(), &["capture.queues=64"]);
    let document: Value = serde_json::from_str(&json(&findings).unwrap()).unwrap();
    let check = |value: &Value, schema: &Value| {
        let value = value.as_object().unwrap();
        let known = schema["properties"].as_object().unwrap();
        let required = schema["required"].as_array().unwrap();
        assert!(value.keys().all(|key| known.contains_key(key)), "{value:?}");
        assert_eq!(value.len(), required.len(), "all are required");
    };
    check(&document, &schema);
    let items = &schema["properties"]["findings"]["items"];
    let all = document["findings"].as_array().unwrap();
    assert_eq!(all.len(), findings.len());
    for finding in all {
        check(finding, items);
        let levels = items["properties"]["level"]["enum"].as_array().unwrap();
        assert!(levels.contains(&finding["level"]));
    }
    let failures = count(&findings, Level::Failure);
    assert_eq!(document["failures"], failures);
    assert_eq!(document["ready"], failures == 0);
    let ending = text(&findings);
    assert!(ending.trim_end().ends_with("ready"), "{ending}");
}

/// What docs/doctor.md shows of made-up machines.
#[test]
fn the_samples_of_the_manual() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/doctor.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let shown = |findings: &[Finding]| {
        let text = text(findings);
        assert!(manual.contains(&text), "docs/doctor.md lacks:\n{text}");
    };
    let tree = Tree::server();
    tree.kernel_port("0000:3b:00.0", 0x1572, "i40e", "ens1f0")
        .pages(1, "2048", 0);
    let old = Abilities {
        firmware: "8.30 0x8000a4ae 1.2926.0".to_owned(),
        ..x710()
    };
    let mut system = asked(tree.system(), &old);
    if let Survey::Ports(ports) = &mut system.survey {
        let reason = "not asked: under i40e that is not safe, or not possible".to_owned();
        ports.insert("0000:3b:00.0".to_owned(), Err(reason));
    }
    system.adapter = |_| {
        Some(kernel::Adapter {
            driver: "i40e".to_owned(),
            firmware: "9.20 0x8000d95a 22.0.9".to_owned(),
        })
    };
    shown(&examined(&system, &[]));

    let tree = Tree::server();
    tree.port("0000:3b:00.0", 0x10fb, "vfio-pci");
    let settings = [
        "capture.ports=[\"0000:3b:00.0\"]",
        "capture.queues=32",
        "workers.cpus=[1,2,3]",
    ];
    shown(&examined(&tree.system(), &settings));
}

/// The command for the kernel's command line does what it says, to a file like Debian's.
#[test]
fn kernel_arguments_are_added() {
    let command = kernel_arguments("iommu=pt isolcpus=2-3,5");
    let sed = command.split(" /etc/default/grub").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grub");
    let before =
        "GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"a=b\"\n";
    std::fs::write(&file, before).unwrap();
    let script = format!("{sed} {}", file.display());
    let status = std::process::Command::new("sh")
        .args(["-c", &script])
        .status();
    assert!(status.unwrap().success());
    let after = std::fs::read_to_string(file).unwrap();
    assert_eq!(
        after,
        before.replace("\"a=b", "\"iommu=pt isolcpus=2-3,5 a=b")
    );
}

#[test]
fn sizes() {
    assert_eq!(size(0), "0 KiB");
    assert_eq!(size(1_025), "2 KiB");
    assert_eq!(size(200 << 20), "200 MiB");
    assert_eq!(size((200 << 20) + 1), "201 MiB");
    assert_eq!(size(64 << 30), "64 GiB");
}

//! `scripts/bind-port` and `scripts/unbind-port` on a made-up machine: a folder in the place of
//! `/sys`, and programs in the place of those that would change a real one. On an emulated machine
//! they run for real: `scripts/smoke/bare-metal`.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const PORT: &str = "0000:3b:00.0";

/// Says which interfaces have default routes and addresses.
const IP: &str = r#"
case "$*" in
    '-4 route show default') cat "$MADE_UP/routes" ;;
    '-o address show') cat "$MADE_UP/addresses" ;;
esac"#;

/// Binds in the made-up folder; the interface of a port goes and comes with the kernel's driver.
const DEVBIND: &str = r#"
[ ! -e "$MADE_UP/stubborn" ] || { echo 'Warning: not modifying' >&2; exit 0; }
while [ "$1" != -b ]; do shift; done
device=$MADE_UP/sys/bus/pci/devices/$3
mkdir -p "$MADE_UP/sys/bus/pci/drivers/$2"
ln -sfn "$MADE_UP/sys/bus/pci/drivers/$2" "$device/driver"
case $2 in
    vfio-pci | uio_pci_generic) mv "$device/net" "$device/gone"; rm "$MADE_UP/sys/class/net/eth7" ;;
    *) mv "$device/gone" "$device/net"; ln -s "$device/net/eth7" "$MADE_UP/sys/class/net/eth7" ;;
esac"#;

/// A machine with one port, eth7 of driver i40e, whose IOMMU group is 12.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = Self { folder };
        let device = machine.device();
        for made in [
            device.join("net/eth7"),
            machine.path("sys/bus/pci/drivers/i40e"),
            machine.path("sys/class/net"),
            machine.path("sys/kernel/iommu_groups/12/devices"),
            machine.path("proc"),
            machine.path("programs"),
        ] {
            fs::create_dir_all(made).unwrap();
        }
        fs::write(device.join("class"), "0x020000\n").unwrap();
        symlink(
            machine.path("sys/bus/pci/drivers/i40e"),
            device.join("driver"),
        )
        .unwrap();
        symlink(&device, device.join("net/eth7/device")).unwrap();
        machine.link(
            "sys/bus/pci/devices/0000:3b:00.0/net/eth7",
            "sys/class/net/eth7",
        );
        machine.link(
            "sys/kernel/iommu_groups/12",
            "sys/bus/pci/devices/0000:3b:00.0/iommu_group",
        );
        machine.link(
            "sys/bus/pci/devices/0000:3b:00.0",
            "sys/kernel/iommu_groups/12/devices/0000:3b:00.0",
        );
        for (name, text) in [("ip", IP), ("modprobe", ""), ("dpdk-devbind.py", DEVBIND)] {
            machine.program(name, text);
        }
        machine.write("routes", "default via 192.0.2.1 dev eth0 proto static\n");
        machine.write(
            "addresses",
            "2: eth0    inet 192.0.2.5/24 scope global eth0\n",
        );
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn device(&self) -> PathBuf {
        self.path("sys/bus/pci/devices").join(PORT)
    }

    fn link(&self, target: &str, name: &str) {
        symlink(self.path(target), self.path(name)).unwrap();
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A program that notes its call and does what `text` says.
    fn program(&self, name: &str, text: &str) {
        let path = self.path("programs").join(name);
        let whole = format!("#!/bin/sh\necho \"{name} $*\" >>\"$MADE_UP/calls\"\n{text}\n");
        fs::write(&path, whole).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, script: &str, arguments: &[&str]) -> Command {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
        let mut command = Command::new(scripts.join(script));
        command
            .args(arguments)
            .env_remove("SSH_CONNECTION")
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.path("programs").display()),
            )
            .env("MADE_UP", self.folder.path())
            .env("WIRELYNX_SYSFS", self.path("sys"))
            .env("WIRELYNX_PROCFS", self.path("proc"))
            .env("WIRELYNX_STATE", self.path("state"));
        command
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        self.command(script, arguments).output().unwrap()
    }

    /// Run it, which must work; returns what it said.
    fn done(&self, script: &str, arguments: &[&str]) -> String {
        let output = self.run(script, arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap() + &errors
    }

    /// Run it, which must fail with this status and change nothing; returns what it said.
    fn refused(&self, script: &str, arguments: &[&str], status: i32) -> String {
        let before = self.driver();
        let output = self.run(script, arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?}: {errors}"
        );
        assert_eq!(self.driver(), before, "{errors}");
        errors
    }

    fn driver(&self) -> String {
        let link = fs::read_link(self.device().join("driver")).unwrap();
        link.file_name().unwrap().to_str().unwrap().to_owned()
    }

    fn calls(&self, program: &str) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let own = calls.lines().filter(|line| line.starts_with(program));
        own.map(str::to_owned).collect()
    }
}

#[test]
fn what_was_remembered_is_no_option() {
    let machine = Machine::new();
    machine.done("bind-port", &[PORT]);
    let state = format!("state/ports/{PORT}");
    machine.write(&state, "driver=-C/tmp/modprobe.conf\ninterface=eth7\n");
    let said = machine.refused("unbind-port", &[PORT], 1);
    assert!(said.contains("is not in"), "{said}");
    assert_eq!(machine.calls("modprobe"), ["modprobe vfio-pci"]);
}

#[test]
fn a_port_goes_and_comes_back() {
    let machine = Machine::new();
    let said = machine.done("bind-port", &["eth7"]);
    assert!(
        said.starts_with("0000:3b:00.0 (eth7): i40e -> vfio-pci\n"),
        "{said}"
    );
    assert!(
        said.contains(r#"next: capture.ports = ["0000:3b:00.0"]"#),
        "{said}"
    );
    assert_eq!(machine.driver(), "vfio-pci");
    assert_eq!(machine.calls("modprobe"), ["modprobe vfio-pci"]);
    assert_eq!(machine.calls("ip link"), ["ip link set eth7 down"]);
    let state = fs::read_to_string(machine.path("state/ports/0000:3b:00.0")).unwrap();
    assert_eq!(state, "driver=i40e\ninterface=eth7\n");

    // Once more, also without the domain and by the name that is gone.
    for name in [PORT, "3b:00.0", "eth7"] {
        let said = machine.done("bind-port", &[name]);
        assert!(
            said.starts_with("0000:3b:00.0 is bound to vfio-pci already\n"),
            "{said}"
        );
    }
    // By another driver: the one of the kernel stays remembered.
    machine.write("sys/bus/pci/devices/0000:3b:00.0/gone/kept", "");
    machine.program(
        "dpdk-devbind.py",
        &DEVBIND.replace("mv \"$device/net\"", "true #"),
    );
    machine.done("bind-port", &["--driver", "uio_pci_generic", PORT]);
    assert_eq!(machine.driver(), "uio_pci_generic");
    machine.program("dpdk-devbind.py", DEVBIND);

    let said = machine.done("unbind-port", &["eth7"]);
    assert!(
        said.starts_with("0000:3b:00.0: uio_pci_generic -> i40e, interface eth7\n"),
        "{said}"
    );
    assert_eq!(machine.driver(), "i40e");
    assert!(!machine.path("state/ports/0000:3b:00.0").exists());
    let said = machine.done("unbind-port", &["eth7"]);
    assert_eq!(said, "0000:3b:00.0 has the kernel's driver i40e already\n");
    assert_eq!(machine.calls("dpdk-devbind.py").len(), 3);
}

#[test]
fn the_port_with_the_default_route_is_refused() {
    let machine = Machine::new();
    machine.write("routes", "default via 192.0.2.1 dev eth7 proto static\n");
    let said = machine.refused("bind-port", &["eth7"], 1);
    assert!(
        said.contains("carries the default route") && said.contains("--force"),
        "{said}"
    );
    // A member of the bond with the route, below a VLAN.
    machine.write("routes", "default via 192.0.2.1 dev bond0.5\n");
    for (upper, lower) in [("bond0.5", "bond0"), ("bond0", "eth7")] {
        let folder = machine.path("sys/class/net").join(upper);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("lower_{lower}")), "").unwrap();
    }
    let said = machine.refused("bind-port", &["eth7"], 1);
    assert!(said.contains("carries the default route"), "{said}");
    machine.done("bind-port", &["--force", "eth7"]);
    let call = format!("dpdk-devbind.py --force -b vfio-pci {PORT}");
    assert_eq!(machine.calls("dpdk-devbind.py"), [call]);
}

#[test]
fn the_port_of_the_ssh_session_is_refused() {
    let machine = Machine::new();
    machine.write(
        "addresses",
        "3: eth7    inet 198.51.100.7/24 scope global eth7\n",
    );
    let session = "203.0.113.9 51000 198.51.100.7 22";
    let mut command = machine.command("bind-port", &["eth7"]);
    let output = command.env("SSH_CONNECTION", session).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("carries this SSH session"), "{said}");
    assert_eq!(machine.driver(), "i40e");
    let elsewhere = session.replace("198.51.100.7", "198.51.100.8");
    let mut command = machine.command("bind-port", &["eth7"]);
    assert!(
        command
            .env("SSH_CONNECTION", elsewhere)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn a_session_is_found_behind_sudo() {
    let machine = Machine::new();
    machine.write(
        "addresses",
        "3: eth7    inet6 2001:db8::7/64 scope global \\ valid_lft\n",
    );
    let command = machine.command("bind-port", &["eth7"]);
    // The process itself is looked up by its number, which is known only once it runs.
    let text = format!(
        "p=$WIRELYNX_PROCFS; mkdir $p/$$ $p/77; printf 'PPid:\\t77\\n' >$p/$$/status; \
         : >$p/$$/environ; printf 'A=b\\0SSH_CONNECTION=2001:db8::9 51000 2001:db8::7 22\\0' \
         >$p/77/environ; exec {} eth7",
        command.get_program().to_str().unwrap()
    );
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(text).env_remove("SSH_CONNECTION");
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let output = shell.envs(variables).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("carries this SSH session"), "{said}");
}

#[test]
fn names_that_are_no_port() {
    let machine = Machine::new();
    let said = machine.refused("bind-port", &["eth9"], 1);
    assert!(
        said.starts_with("no port 'eth9': expected the name of an interface or a PCI"),
        "{said}"
    );
    assert!(said.contains("this machine are: 0000:3b:00.0"), "{said}");
    fs::create_dir_all(machine.path("sys/class/net/tun0")).unwrap();
    let said = machine.refused("bind-port", &["tun0"], 1);
    assert!(said.contains("net_af_packet0,iface=tun0"), "{said}");
    let wrong: [&[&str]; 5] = [
        &[],
        &["--driver"],
        &["--driver", "i40e", "eth7"],
        &["--all"],
        &["eth7", "eth8"],
    ];
    for arguments in wrong {
        machine.refused("bind-port", arguments, 2);
    }
}

#[test]
fn without_an_iommu() {
    let machine = Machine::new();
    fs::remove_file(machine.device().join("iommu_group")).unwrap();
    let said = machine.refused("bind-port", &[PORT], 1);
    for part in [
        "intel_iommu=on iommu=pt",
        "enable_unsafe_noiommu_mode",
        "its risk",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let parameters = machine.path("sys/module/vfio/parameters");
    fs::create_dir_all(&parameters).unwrap();
    fs::write(parameters.join("enable_unsafe_noiommu_mode"), "Y\n").unwrap();
    let said = machine.done("bind-port", &[PORT]);
    assert!(
        said.contains("no IOMMU: the device may read and write all memory"),
        "{said}"
    );
}

#[test]
fn others_of_the_iommu_group_are_named() {
    let machine = Machine::new();
    fs::create_dir_all(machine.path("sys/bus/pci/devices/0000:3b:00.1")).unwrap();
    fs::create_dir_all(machine.path("sys/bus/pci/drivers/ahci")).unwrap();
    machine.link(
        "sys/bus/pci/drivers/ahci",
        "sys/bus/pci/devices/0000:3b:00.1/driver",
    );
    machine.link(
        "sys/bus/pci/devices/0000:3b:00.1",
        "sys/kernel/iommu_groups/12/devices/0000:3b:00.1",
    );
    let said = machine.done("bind-port", &[PORT]);
    assert!(
        said.contains("0000:3b:00.1 (ahci) is in the same IOMMU group"),
        "{said}"
    );
}

#[test]
fn what_does_not_bind_is_told() {
    let machine = Machine::new();
    machine.write("stubborn", "");
    let said = machine.refused("bind-port", &[PORT], 1);
    assert!(
        said.contains("its driver is 'i40e'. dpdk-devbind.py said: Warning"),
        "{said}"
    );
    machine.program("modprobe", "exit 1");
    let said = machine.refused("bind-port", &[PORT], 1);
    assert!(said.contains("the kernel has no module vfio-pci"), "{said}");
    let device = machine.device();
    fs::remove_file(device.join("driver")).unwrap();
    fs::create_dir_all(machine.path("sys/bus/pci/drivers/mlx5_core")).unwrap();
    symlink(
        machine.path("sys/bus/pci/drivers/mlx5_core"),
        device.join("driver"),
    )
    .unwrap();
    let said = machine.refused("bind-port", &[PORT], 1);
    assert!(said.contains("beside which DPDK works"), "{said}");
}

#[test]
fn a_port_is_given_back_only_when_nobody_uses_it() {
    let machine = Machine::new();
    machine.done("bind-port", &[PORT]);
    let process = machine.path("proc/42");
    fs::create_dir_all(process.join("fd")).unwrap();
    fs::write(process.join("comm"), "wirelynx\n").unwrap();
    symlink("/dev/vfio/12", process.join("fd/9")).unwrap();
    let said = machine.refused("unbind-port", &[PORT], 1);
    assert!(
        said.contains("in use by wirelynx (process 42): stop it first"),
        "{said}"
    );
    fs::remove_file(process.join("fd/9")).unwrap();
    fs::remove_file(machine.path("state/ports/0000:3b:00.0")).unwrap();
    let said = machine.refused("unbind-port", &[PORT], 1);
    assert!(said.contains("name it, as in --driver i40e"), "{said}");
    let said = machine.done("unbind-port", &["--driver", "i40e", PORT]);
    assert!(said.contains("next: ip link set eth7 up"), "{said}");
    machine.refused("unbind-port", &[], 2);
}

/// As the Debian package installs them: in a folder of their own, with what they share.
#[test]
fn installed_scripts_name_themselves() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let machine = Machine::new();
    let installed = machine.path("installed");
    fs::create_dir_all(installed.join("lib")).unwrap();
    for name in ["bind-port", "unbind-port", "lib/port"] {
        fs::copy(scripts.join(name), installed.join(name)).unwrap();
    }
    let path = installed.display();
    for name in ["bind-port", "unbind-port"] {
        let script = installed.join(name);
        let said = machine.done(script.to_str().unwrap(), &["--help"]);
        assert!(
            said.contains(&format!("\n  {path}/{name} [--driver DRIVER]")),
            "{said}"
        );
        assert!(!said.contains("scripts/") && !said.contains('#'), "{said}");
        let said = machine.refused(script.to_str().unwrap(), &[], 2);
        assert!(
            said.contains(&format!("name a port: {path}/{name} [")),
            "{said}"
        );
    }
    let script = installed.join("bind-port");
    let said = machine.done(script.to_str().unwrap(), &["eth7"]);
    assert!(
        said.contains(&format!("'{path}/unbind-port {PORT}'")),
        "{said}"
    );
}

//! Plans for machines of made-up trees.

use super::machine::tests::tree;
use super::*;

/// Two nodes of four cores with two threads each: node 0 has CPUs 0-3 and 8-11.
fn server(allowed: impl IntoIterator<Item = usize>) -> Machine {
    Machine::read(tree(2, 4).path(), allowed.into_iter().collect())
}

/// One node of `cpus` CPUs, each a core.
fn desktop(cpus: usize) -> Machine {
    Machine::read(std::path::Path::new("/nonexistent"), (0..cpus).collect())
}

fn port(name: &str, node: Option<u16>, queues: u16) -> Port {
    Port {
        name: name.to_owned(),
        node,
        queues,
        fixed: false,
    }
}

fn wishes(workers: usize, security: usize, cpus: &[usize], port: Port) -> Wishes {
    Wishes {
        workers,
        security,
        cpus: cpus.to_vec(),
        ports: vec![port],
    }
}

/// CPUs of the workers, of the security workers and of the others.
fn cpus(plan: &Plan) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
    let pinned = |places: &[Option<usize>]| places.iter().map(|cpu| cpu.unwrap()).collect();
    (
        pinned(&plan.workers),
        pinned(&plan.security),
        plan.others.clone(),
    )
}

fn plan(wishes: &Wishes, machine: &Machine) -> Plan {
    Plan::new(wishes, machine).unwrap()
}

#[test]
fn workers_get_cores_on_the_node_of_the_port() {
    let machine = server(0..16);
    let near = plan(&wishes(0, 0, &[], port("a", Some(1), 64)), &machine);
    assert_eq!(near.warnings, [""; 0]);
    let others = vec![0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15];
    assert_eq!(cpus(&near), (vec![4, 5, 6], vec![7], others));
    let first = plan(&wishes(0, 0, &[], port("a", Some(0), 64)), &machine);
    // CPU 0 is left to the others.
    assert_eq!(cpus(&first).0, [1, 2]);
    assert_eq!(cpus(&first).1, [3]);
}

#[test]
fn no_node_known_takes_all_cores() {
    let all = plan(&wishes(0, 0, &[], port("a", None, 64)), &server(0..16));
    assert_eq!(cpus(&all).0, [1, 2, 3, 4, 5, 6]);
    assert_eq!(cpus(&all).1, [7]);
    assert_eq!(
        plan(&wishes(0, 0, &[], port("a", None, 64)), &desktop(8))
            .workers
            .len(),
        6
    );
}

#[test]
fn siblings_are_used_when_the_cores_are() {
    let machine = server(0..16);
    let all = plan(&wishes(6, 2, &[], port("a", Some(0), 64)), &machine);
    assert_eq!(cpus(&all).0, [1, 2, 3, 8, 9, 10]);
    // Whole cores of another node rather than half a core beside a worker.
    assert_eq!(cpus(&all).1, [4, 5]);
    let far = plan(&wishes(8, 1, &[], port("a", Some(0), 64)), &machine);
    assert_eq!(cpus(&far).0, [1, 2, 3, 8, 9, 10, 11, 4]);
    assert_eq!(
        far.warnings,
        [
            "worker 7 runs on CPU 4 of node 1, but port a is on node 0: each packet crosses between \
          the nodes"
        ]
    );
}

#[test]
fn never_more_workers_than_queues() {
    let machine = server(0..16);
    let one = plan(&wishes(0, 0, &[], port("a", Some(1), 1)), &machine);
    assert_eq!(cpus(&one).0, [4]);
    assert_eq!(cpus(&one).1, [5]);
    let asked = plan(&wishes(5, 0, &[], port("a", Some(1), 2)), &machine);
    assert_eq!(asked.workers.len(), 2);
    assert!(asked.warnings[0].contains("more receive queues than 2"));
}

#[test]
fn few_cpus_have_one_worker() {
    let three = plan(&wishes(0, 0, &[], port("a", None, 64)), &desktop(3));
    assert_eq!(cpus(&three), (vec![0], vec![1], vec![2]));
    let two = plan(&wishes(0, 0, &[], port("a", None, 64)), &desktop(2));
    assert_eq!((&two.workers, &two.security), (&vec![None], &vec![None]));
    assert_eq!(two.others, [0, 1]);
    assert!(two.warnings[0].contains("no thread is pinned"), "{two:?}");
    let four = plan(&wishes(0, 0, &[], port("a", None, 64)), &desktop(4));
    assert_eq!(cpus(&four), (vec![1, 2], vec![3], vec![0]));
}

#[test]
fn more_threads_than_cpus_are_not_pinned() {
    let many = plan(&wishes(4, 2, &[], port("a", None, 64)), &desktop(2));
    assert_eq!(many.workers, [None; 4]);
    assert_eq!(many.security, [None; 2]);
    assert_eq!(
        many.warnings,
        [
            "no thread is pinned: workers (4), security workers (2) and the others are more than the \
             2 CPUs that this process may use"
        ]
    );
    let nobody = plan(&wishes(0, 0, &[], port("a", None, 1)), &desktop(0));
    assert_eq!((nobody.workers.len(), nobody.others.len()), (1, 0));
}

#[test]
fn named_cpus_are_taken_in_their_order() {
    let machine = server(0..16);
    let named = plan(&wishes(2, 1, &[5, 4, 7], port("a", Some(1), 8)), &machine);
    assert_eq!(cpus(&named).0, [5, 4]);
    assert_eq!(cpus(&named).1, [7]);
    assert_eq!(named.others.len(), 13);
    let counted = plan(
        &wishes(0, 0, &[4, 5, 6, 7], port("a", Some(1), 8)),
        &machine,
    );
    assert_eq!(cpus(&counted).0, [4, 5, 6]);
    assert_eq!(cpus(&counted).1, [7]);
    // The security worker that nobody asked for shares CPUs with the others.
    let single = plan(&wishes(0, 0, &[6], port("a", Some(1), 8)), &machine);
    assert_eq!(
        (single.workers, single.security),
        (vec![Some(6)], vec![None])
    );
    assert!(!single.others.contains(&6));
}

#[test]
fn cpus_that_cannot_be_used_are_named() {
    let machine = server((0..16).filter(|&cpu| cpu != 3));
    let refusal = |workers, security, cpus: &[usize]| {
        let wishes = wishes(workers, security, cpus, port("a", None, 64));
        Plan::new(&wishes, &machine).unwrap_err().to_string()
    };
    assert_eq!(
        refusal(0, 0, &[1, 16]),
        "workers.cpus: there is no CPU 16; this machine has 0-15"
    );
    assert_eq!(
        refusal(0, 0, &[1, 3]),
        "workers.cpus: this process may not use CPU 3; it may use 0-2,4-15"
    );
    assert_eq!(
        refusal(0, 0, &[1, 2, 1]),
        "workers.cpus: CPU 1 is named twice"
    );
    assert_eq!(
        refusal(2, 1, &[1, 2]),
        "workers.cpus names 2 CPUs, but workers (2) and security workers (1) need one each"
    );
    assert!(refusal(0, 2, &[1, 2]).contains("workers (1) and security workers (2)"));
}

#[test]
fn the_table_for_the_log() {
    let mut fixed = port("net_pcap0", None, 5);
    fixed.fixed = true;
    let mut wishes = wishes(2, 1, &[4, 5, 6], port("3b:00.0", Some(1), 64));
    wishes.ports.push(fixed);
    let plan = plan(&wishes, &server(0..16));
    let expected = "\
thread             cpu       node  port queues
worker 0           4         1     3b:00.0 0; net_pcap0 0,2,4
worker 1           5         1     3b:00.0 1; net_pcap0 1,3
security worker 0  6         1     -
writer, control    0-3,7-15  -     -";
    assert_eq!(plan.to_string(), expected);
}

#[test]
fn a_thread_stays_where_it_is_pinned() {
    let before = machine::allowed();
    let last = *before.last().unwrap();
    std::thread::spawn(move || {
        pin(last).unwrap();
        assert_eq!(machine::allowed(), [last]);
        let error = pin(CpuSet::count() - 1).unwrap_err().to_string();
        assert!(
            error.starts_with("this thread cannot run on CPU 1023: "),
            "{error}"
        );
        assert!(pin(CpuSet::count()).is_err());
        assert_eq!(machine::allowed(), [last], "a refusal changes nothing");
        confine(&before).unwrap();
        assert_eq!(machine::allowed(), before);
    })
    .join()
    .unwrap();
}

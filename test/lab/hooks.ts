import type { Machine } from "../../scripts/lab/host/machine.js";

const HOOKS_DIR = "/etc/belay/hooks.d";
/** Where hooks write down that they ran, and find what they are to do this time. */
const DIR = "/var/lib/lab-hooks";

/** What a hook does on top of saying that it ran: all that a host's owner may do, and all that the agent's sandbox forbids. */
const HOOKS: Readonly<Record<string, string>> = {
  "pre-drain": `if rm ${DIR}/busy 2>/dev/null; then echo somebody is still logged in; exit 21; fi`,
  "drain.d/10-look": `
    echo "$BELAY_HOOK on $BELAY_HOST of $BELAY_SERVICE from $BELAY_FROM to $BELAY_TO"
    echo "knows $(env | cut -d= -f1 | grep -v '^_$' | sort | xargs)"
    for dir in /etc /opt /usr/local/bin /var/lib /tmp /usr /boot /var/log /root /run; do
      if touch $dir/of-a-hook 2>/dev/null; then echo "writes $dir"; else echo "does not write $dir"; fi
    done
    grep -o '/belay-agent.service$' /proc/self/cgroup | sort -u
    grep -E '^(NoNewPrivs|CapBnd):' /proc/self/status
    test -e /proc/meminfo || echo sees processes alone in /proc
    unshare --net true 2>/dev/null || echo makes no namespace`,
  "drain.d/20-balancer": `if test -e ${DIR}/stuck; then echo the balancer does not answer >&2; exit 3; fi`,
  "post-health": `if test -e ${DIR}/sick; then echo nobody can log in; exit 4; fi`,
  undrain: "echo back behind the balancer",
  "post-revert": "echo somebody was paged",
};

/** Lays hooks out on a host as its owner would: root's executables. */
export async function layOutHooks(machine: Machine): Promise<void> {
  await machine.must(["mkdir", "-p", DIR]);
  for (const [name, does] of Object.entries(HOOKS)) {
    const said = `echo "$BELAY_HOOK $(basename $0) $BELAY_TO" >>${DIR}/ran`;
    await machine.writeFile(`${HOOKS_DIR}/${name}`, `#!/bin/sh\n${said}\n${does}\n`, 0o755);
  }
}

/** What goes wrong on the host from now on: the balancer is stuck, the new version is sick, somebody is busy for a moment. */
export async function trouble(machine: Machine, what: "stuck" | "sick" | "busy" | null): Promise<void> {
  await machine.shell(`cd ${DIR}; rm -f stuck sick busy; ${what === null ? "" : `touch ${what}`}`);
}

/** Executables that ran since the last time this was asked, in their order. */
export async function hooksThatRan(machine: Machine): Promise<string[]> {
  const said = await machine.shell(`cd ${DIR}; cat ran; rm ran`);
  return said
    .trim()
    .split("\n")
    .map((line) => line.split(" ").slice(0, 2).join(" "));
}

/** What the sandbox of the package's unit leaves to `drain.d/10-look`, in the words of the run's log. */
export const SANDBOX = [
  "knows BELAY_FROM BELAY_HOOK BELAY_HOST BELAY_SERVICE BELAY_STEP BELAY_TO PATH PWD",
  ...["/etc", "/opt", "/usr/local/bin", "/var/lib", "/tmp"].map((dir) => `writes ${dir}`),
  ...["/usr", "/boot", "/var/log", "/root", "/run"].map((dir) => `does not write ${dir}`),
  "/belay-agent.service",
  "NoNewPrivs: 1",
  // CapabilityBoundingSet of the unit: chown, dac_override, dac_read_search, fowner, fsetid, sys_ptrace, setfcap.
  "CapBnd: 000000008008001f",
  "sees processes alone in /proc",
  "makes no namespace",
];

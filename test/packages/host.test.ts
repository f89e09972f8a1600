import { copyFile, readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { Hosts, whyNoHosts } from "../../scripts/lab/host/hosts.js";
import type { Machine } from "../../scripts/lab/host/machine.js";
import { labPackages } from "../../scripts/lab/packages.js";
import { packages } from "./built.js";

const skip = whyNoHosts() ?? false;
t.setTimeout(20 * 60_000);

const NEWER = "0.2.0";
const PATIENCE_MS = 120_000;
/** What an idle agent may take of its host, and how long it is watched. CPU time, so that a busy machine changes nothing. */
const MOST_RESIDENT_KB = 60_000;
const MOST_OF_A_CORE = 0.002;
const IDLE_MS = 65_000;
const TICKS_PER_SECOND = 100;
const INSTALL = { timeoutMs: 5 * 60_000 };

t.test("the packages on a booted host, from install to purge", { skip }, async (t) => {
  const newer = await labPackages(NEWER);
  const hosts = await Hosts.open("pkg", () => {});
  t.teardown(() => hosts.close());
  const [host] = await hosts.boot([{ name: "pkg-1" }]);
  if (host === undefined) throw new Error("no host was booted");
  const show = async (unit: string, property: string) =>
    (await host.must(["systemctl", "show", "--value", "-p", property, unit])).trim();
  const exists = async (path: string) => (await host.exec(["test", "-e", path])).code === 0;

  await t.test("install: belayd runs, the agent waits to join and says so", async (t) => {
    const said = await install(host, packages.agent, packages.controller);
    t.match(said, /it starts once this host has joined/);
    t.equal(await show("belayd", "ActiveState"), "active");
    t.equal(await show("belay-agent", "ActiveState"), "inactive");
    t.equal(await show("belay-agent", "ConditionResult"), "no");
    t.match(await host.must(["stat", "-c", "%U:%G %a", "/var/lib/belay"]), /^belay:belay 750\n/);
    t.match(await host.must(["stat", "-c", "%U %a", "/var/lib/belay-agent"]), /^root 700\n/);
    t.equal(await host.must(["readlink", "/opt/belay/agent/current"]), "versions/0.1.0\n");
    t.equal(await host.must(["belay-agent", "--version"]), "0.1.0\n");
    t.match(await host.must(["systemctl", "is-enabled", "belayd", "belay-agent"]), /^enabled\nenabled\n/);
    t.match(await host.must(["man", "-w", "belay-agent"]), /belay-agent\.8\.gz/);
  });

  await t.test("join: the agent is ready, sandboxed, and connected", async (t) => {
    await host.shell("sed -i s/auth-1/pkg-1/ /etc/belay/fleet.yaml");
    await host.shell("echo 'tls: { listen: 127.0.0.1:7443 }' >>/etc/belay/belayd.yaml && systemctl restart belayd");
    await host.shell(
      "umask 077; belay agent token create --host pkg-1 --token-file /var/lib/belay/api-token >/etc/belay/token",
    );
    await host.writeFile("/etc/belay/agent.yaml", AGENT_YAML);
    await host.writeFile("/etc/systemd/system/probe.service", "[Service]\nExecStart=/bin/sleep infinity\n");
    await host.shell("systemctl daemon-reload && systemctl start probe");
    // Comes back when the agent has said that it is ready: the unit is of the notify kind.
    await host.must(["systemctl", "start", "belay-agent"]);
    t.equal(await show("belay-agent", "SubState"), "running");
    t.not(await show("belay-agent", "WatchdogTimestampMonotonic"), "0");
    await until("the agent is connected", async () => (await belay(host, "host", "list")).includes("connected"));
    const pid = await show("belay-agent", "MainPID");
    t.match(await host.must(["cat", `/proc/${pid}/status`]), /^NoNewPrivs:\t1$/m);
    t.match(await host.must(["cat", `/proc/${pid}/comm`]), /^belay-agent\n/);
  });

  await t.test("an idle agent is small and quiet", async (t) => {
    const pid = await show("belay-agent", "MainPID");
    const before = await cpuTicks(host, pid);
    // As long as facts are told once.
    await sleep(IDLE_MS);
    const ticks = (await cpuTicks(host, pid)) - before;
    const rss = Number(/^VmRSS:\s+(\d+) kB$/m.exec(await host.must(["cat", `/proc/${pid}/status`]))?.[1]);
    t.comment(`VmRSS ${rss} kB, ${ticks} ticks`);
    t.ok(rss < MOST_RESIDENT_KB, `${rss} kB`);
    t.ok(ticks / TICKS_PER_SECOND <= (IDLE_MS / 1000) * MOST_OF_A_CORE, `${ticks} ticks`);
  });

  await t.test("a hung agent is killed by the watchdog and started again", async (t) => {
    await host.writeFile("/etc/systemd/system/belay-agent.service.d/short.conf", "[Service]\nWatchdogSec=3\n");
    await host.shell("systemctl daemon-reload && systemctl restart belay-agent");
    // Three of its periods: the agent does beat, or it would have been restarted by now.
    await sleep(9_000);
    t.equal(await show("belay-agent", "NRestarts"), "0");
    const hung = await show("belay-agent", "MainPID");
    await host.must(["kill", "-STOP", hung]);
    await until("it was started again", async () => (await show("belay-agent", "NRestarts")) === "1");
    await until("it is ready again", async () => (await show("belay-agent", "SubState")) === "running");
    t.not(await show("belay-agent", "MainPID"), hung);
    t.match(await host.must(["journalctl", "-u", "belay-agent", "-o", "cat"]), /Watchdog timeout/);
    await host.shell(
      "rm -r /etc/systemd/system/belay-agent.service.d; systemctl daemon-reload; systemctl restart belay-agent",
    );
  });

  await t.test("upgrade: the new version runs, edited files and the state stay", async (t) => {
    const journal = await host.must(["head", "-n1", "/var/lib/belay-agent/journal"]);
    await host.shell("echo '# edited' >>/etc/belay/belayd.yaml");
    const before = await show("probe", "MainPID");
    const belayd = await show("belayd", "MainPID");
    // It is spent.
    await host.must(["mv", "/etc/belay/token", "/root/token"]);
    const said = await install(host, newer.agent, newer.controller);
    t.notMatch(said, /once this host has joined/);
    await host.must(["mv", "/root/token", "/etc/belay/token"]);
    t.equal(await host.must(["readlink", "/opt/belay/agent/current"]), `versions/${NEWER}\n`);
    t.equal(await show("belay-agent", "SubState"), "running");
    const agent = await show("belay-agent", "MainPID");
    t.match(await host.must(["readlink", `/proc/${agent}/exe`]), new RegExp(`/versions/${NEWER}/belay-agent\n`));
    t.not(await show("belayd", "MainPID"), belayd);
    t.equal(await show("probe", "MainPID"), before, "services are left alone");
    t.match(await host.must(["tail", "-n1", "/etc/belay/belayd.yaml"]), /# edited/);
    t.equal(await host.must(["head", "-n1", "/var/lib/belay-agent/journal"]), journal);
    t.ok(await exists("/opt/belay/agent/versions/0.1.0"), "what ran until now is kept, to go back to");
    await until("it is connected", async () => (await belay(host, "host", "list")).includes("connected"));
  });

  await t.test("a newer agent that came by itself outlives an older package", async (t) => {
    await host.shell("cp -a /opt/belay/agent/versions/0.2.0 /opt/belay/agent/versions/9.0.0");
    await host.shell("ln -sfn versions/9.0.0 /opt/belay/agent/current");
    await install(host, newer.agent);
    t.equal(await host.must(["readlink", "/opt/belay/agent/current"]), "versions/9.0.0\n");
    await host.shell(`ln -sfn versions/${NEWER} /opt/belay/agent/current; rm -r /opt/belay/agent/versions/9.0.0`);
  });

  await t.test("an older package, put on by hand, is what runs then", async (t) => {
    const versions = "/opt/belay/agent/versions";
    await install(host, newer.agent);
    t.ok(await exists(`${versions}/${NEWER}/belay-agent`));
    await host.shell(`mkdir ${versions}/0.3.0 && touch ${versions}/0.3.0/.belay-manifest.json`);
    await host.shell(`mkdir ${versions}/0.4.0 && cp /bin/sleep ${versions}/0.4.0/`);
    await host.must(["systemd-run", "--unit=other", `${versions}/0.4.0/sleep`, "infinity"]);
    await install(host, packages.agent);
    t.equal(await host.must(["readlink", "/opt/belay/agent/current"]), "versions/0.1.0\n");
    t.equal(
      await host.must(["ls", versions]),
      "0.1.0\n0.3.0\n0.4.0\n",
      "what an agent would refuse to fetch again is gone; what was fetched stays, and what runs",
    );
    await host.shell(`systemctl stop other && rm -r ${versions}/0.3.0 ${versions}/0.4.0`);
    await install(host, newer.agent);
  });

  await t.test("an agent that was stopped stays stopped through an upgrade", async (t) => {
    await host.must(["systemctl", "stop", "belay-agent"]);
    await install(host, newer.agent);
    t.equal(await show("belay-agent", "ActiveState"), "inactive");
    await host.must(["systemctl", "start", "belay-agent"]);
  });

  await t.test("remove: nothing runs, what was known and said stays", async (t) => {
    await host.must(["dpkg", "--remove", "belay-agent", "belay"], INSTALL);
    t.equal(await show("belay-agent", "ActiveState"), "inactive");
    t.equal(await show("belayd", "ActiveState"), "inactive");
    for (const path of ["/usr/bin/belay", "/usr/bin/belay-agent", "/opt/belay/agent"])
      t.notOk(await exists(path), path);
    for (const path of [
      "/etc/belay/agent.yaml",
      "/etc/belay/belayd.yaml",
      "/etc/belay/token",
      "/var/lib/belay-agent/journal",
      "/var/lib/belay/api-token",
    ]) {
      t.ok(await exists(path), path);
    }
  });

  await t.test("installed again, it goes on where it was", async (t) => {
    await install(host, newer.agent, newer.controller);
    await until("it is connected", async () => (await belay(host, "host", "list")).includes("connected"));
    t.match(await host.must(["tail", "-n1", "/etc/belay/belayd.yaml"]), /# edited/);
  });

  await t.test(
    "an upgrade that was open when the package was removed leaves the host with nothing to go back to",
    async (t) => {
      const pending = "/var/lib/belay-agent/upgrade-pending.json";
      await host.shell(`touch ${pending} && systemctl start belay-agent-rescue`);
      t.equal(await show("belay-agent-rescue", "ConditionResult"), "no");
      t.equal(await show("belay-agent-rescue", "ActiveState"), "inactive");
      await host.shell(`rm ${pending}`);
    },
  );

  await t.test("with another tokenFile and stateDir both units do as agent.yaml(5) says", async (t) => {
    const [agent = "", rescue = ""] = await dropIns();
    await host.must(["systemctl", "stop", "belay-agent"]);
    await host.shell(
      "mkdir -p /srv/belay && mv /etc/belay/token /srv/belay/ && cp -a /var/lib/belay-agent /srv/belay/state",
    );
    await host.must(["rm", "-r", "/var/lib/belay-agent/identity"]);
    await host.writeFile("/etc/belay/agent.yaml", elsewhere(AGENT_YAML));
    await host.must(["systemctl", "start", "belay-agent"]);
    t.equal(await show("belay-agent", "ConditionResult"), "no");
    await host.writeFile("/etc/systemd/system/belay-agent.service.d/elsewhere.conf", agent);
    await host.writeFile("/etc/systemd/system/belay-agent-rescue.service.d/elsewhere.conf", rescue);
    await host.shell("systemctl daemon-reload && systemctl start belay-agent");
    t.equal(await show("belay-agent", "ActiveState"), "active");
    await until("it is connected", async () => (await belay(host, "host", "list")).includes("connected"));
    t.notMatch(await install(host, newer.agent), /once this host has joined/);

    const upgrade = { step: "s", from: NEWER, to: "9.9.9", link: "/opt/belay/agent/current", returnMs: 600_000 };
    const pending = JSON.stringify({ ...upgrade, versionsDir: "/opt/belay/agent/versions" });
    await host.writeFile("/srv/belay/state/upgrade-pending.json", pending);
    await host.must(["ln", "-s", `versions/${NEWER}`, "/opt/belay/agent/previous"]);
    await host.must(["systemctl", "start", "belay-agent-rescue"]);
    await until("it is watched", () => exists("/srv/belay/state/upgrade-watched.json"));

    await host.shell("systemctl stop belay-agent-rescue belay-agent && rm /srv/belay/state/upgrade-*.json");
    await host.shell("rm -r /etc/systemd/system/belay-agent*.service.d /opt/belay/agent/previous");
    await host.shell("cp -a /srv/belay/state/. /var/lib/belay-agent && mv /srv/belay/token /etc/belay/");
    await host.writeFile("/etc/belay/agent.yaml", AGENT_YAML);
    await host.shell("rm -r /srv/belay && systemctl daemon-reload && systemctl start belay-agent");
  });

  await t.test("purge: nothing of it is left, and what isn't its own is", async (t) => {
    await host.shell("mkdir -p /opt/belay/teleport/versions && touch /opt/belay/teleport/versions/kept");
    await host.must(["dpkg", "--purge", "belay-agent", "belay"], INSTALL);
    for (const path of ["/etc/belay", "/var/lib/belay-agent", "/var/lib/belay", "/opt/belay/agent"]) {
      t.notOk(await exists(path), path);
    }
    t.ok(await exists("/opt/belay/teleport/versions/kept"));
    t.match((await host.exec(["systemctl", "list-unit-files", "belay*"])).stdout, /^0 unit files/m);
    t.equal((await host.exec(["dpkg", "--status", "belay-agent"])).code, 1);
  });
});

t.test("a chroot without systemd takes the packages too", { skip }, async (t) => {
  const hosts = await Hosts.open("pkg-chroot", () => {});
  t.teardown(() => hosts.close());
  const [host] = await hosts.boot([{ name: "outside" }]);
  if (host === undefined) throw new Error("no host was booted");
  const root = "/srv/chroot";
  await host.shell(`mkdir -p ${root} && cp -a --one-file-system /bin /sbin /lib /lib64 /etc /usr ${root}/`, INSTALL);
  await host.shell(
    `mkdir -p ${root}/tmp ${root}/dev ${root}/root ${root}/var/lib ${root}/run && mknod -m 666 ${root}/dev/null c 1 3`,
  );
  await host.shell(`cp -a /var/lib/dpkg ${root}/var/lib/ && mkdir -p ${root}/var/log ${root}/var/cache ${root}/opt`);
  for (const deb of Object.values(packages)) await copyFile(deb, join(host.root, root, "root", basename(deb)));
  await host.must(["chroot", root, "sh", "-c", "dpkg --install /root/*.deb"], INSTALL);
  t.equal(await host.must(["chroot", root, "belay-agent", "--version"]), "0.1.0\n");
  await host.must(["chroot", root, "dpkg", "--purge", "belay-agent", "belay"], INSTALL);
  t.equal((await host.exec(["test", "-e", `${root}/etc/belay`])).code, 1);
});

const AGENT_YAML = `
controller: https://127.0.0.1:7443
host: pkg-1
tokenFile: /etc/belay/token
services: { teleport: { manager: systemd, unit: probe.service } }
directories: [/opt/belay/teleport, /var/lib/teleport, /etc]
self: { manager: systemd }
`;

/** With its token and its state in other places. */
function elsewhere(yaml: string): string {
  return `${yaml.replace("tokenFile: /etc/belay", "tokenFile: /srv/belay")}stateDir: /srv/belay/state\n`;
}

/** What agent.yaml(5) has people write for the agent's unit, and for the one that watches its upgrade. */
async function dropIns(): Promise<string[]> {
  const text = await readFile(new URL("../../docs/configuration.md", import.meta.url), "utf8");
  return [...text.matchAll(/^```\n(\[Unit\]\n.*?)^```$/gms)].map(([, dropIn = ""]) => dropIn);
}

/** As an operator does, with the answer that keeps edited files. Gives what dpkg said. */
async function install(host: Machine, ...debs: string[]): Promise<string> {
  const names = debs.map((deb) => `/root/${basename(deb)}`);
  for (const [index, deb] of debs.entries()) await copyFile(deb, join(host.root, names[index] ?? ""));
  const said = await host.must(["dpkg", "--install", "--force-confold", ...names], INSTALL);
  for (const name of names) await rm(join(host.root, name));
  return said;
}

/** User and system time, with that of children that ended. */
async function cpuTicks(host: Machine, pid: string): Promise<number> {
  const fields = (await host.must(["cat", `/proc/${pid}/stat`])).split(") ")[1]?.split(" ") ?? [];
  return fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
}

async function belay(host: Machine, ...args: string[]): Promise<string> {
  return (await host.exec(["belay", ...args, "--token-file", "/var/lib/belay/api-token"])).stdout;
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not so after ${PATIENCE_MS / 1000} s: ${what}`);
    await sleep(200);
  }
}

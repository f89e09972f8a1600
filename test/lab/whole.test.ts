import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t from "tap";
import { CONTROL } from "../../scripts/lab/fleet.js";
import { run } from "../../scripts/lab/host/command.js";
import { Hosts, whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { limitsMemory, memoryGroupsOf } from "../../scripts/lab/host/memory.js";
import { bridgeOf } from "../../scripts/lab/host/network.js";
import { unhooked } from "../support/unhooked.js";
import { labName, PATIENCE_MS } from "./scene.js";
import { agentMemory, healthyAt, livesOf, witness } from "./witness.js";

t.setTimeout(PATIENCE_MS);

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const NAME = labName("whole");
const HOSTS = 12;
const LOOK_AGAIN_MS = 50;
/** `MemoryMax` of the agent's unit. */
const AGENT_MEMORY = 128 * 1024 * 1024;
const WAY = ["5.4.2", "6.2.31", "7.1.0"];

/** `npm run lab -- ...`, without its set-up. */
async function lab(...args: string[]): Promise<{ code: number | null; said: string }> {
  const argv = [process.execPath, "--import=tsx", "scripts/lab/main.ts", "--name", NAME, ...args];
  const child = spawn(...unhooked(argv), { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: await ended, said: `${out}${err}` };
}

/** One of its hosts has begun to boot, and none can have come far. */
async function isBooting(): Promise<boolean> {
  return (await run(["pgrep", "-f", "--", `--machine ${NAME}-auth`])).code === 0;
}

t.test(
  "twelve hosts go up two majors, each says so itself, and nothing is left when the lab is down (I1-I5, I8)",
  { timeout: PATIENCE_MS, skip: whyNoHosts() ?? false },
  async (t) => {
    t.teardown(() => lab("down"));
    const whole = await lab("--hosts", String(HOSTS), "--yes", "--keep");
    t.equal(whole.code, 0, "it says that all went well");
    if (whole.code !== 0) return void t.comment(whole.said.slice(-8_000));
    t.match(whole.said, new RegExp(`${HOSTS} of ${HOSTS} hosts run 7\\.1\\.0`));

    const hosts = await Hosts.find(NAME);
    const fleet = [...(hosts?.machines.values() ?? [])].filter(({ name }) => name !== CONTROL);
    t.equal(fleet.length, HOSTS);
    for (const machine of fleet) {
      t.same(await witness(machine), healthyAt("7.1.0"), machine.name);
      t.same(await livesOf(machine), WAY, `${machine.name}: every major, each once (I3)`);
      t.match(await machine.must(["dpkg", "-s", "belay-agent"]), /^Status: install ok installed$/m);
      const memory = await agentMemory(machine);
      const held = { limit: AGENT_MEMORY, enforced: limitsMemory() ? AGENT_MEMORY : null, killed: 0 };
      t.match(memory, held, `${machine.name}: the agent is held to its memory`);
      t.ok(memory.peak > 0 && memory.peak <= AGENT_MEMORY, `${machine.name}: and needs ${memory.peak} bytes of it`);
    }
    const control = hosts?.machine(CONTROL);
    const corrupted = await control?.must([
      ...["env", "ETCDCTL_API=3", "etcdctl", `--endpoints=http://${control.address}:2379`],
      ...["get", "--print-value-only", "/teleport/meta/corrupted"],
    ]);
    t.equal(corrupted, "", "two majors never met on the root cluster's etcd (I5)");
    const leaf = hosts?.machine("eu-auth-1");
    const told = await leaf?.must(["sqlite3", "/var/lib/teleport/backend/sqlite.db", "pragma integrity_check"]);
    t.equal(told, "ok\n", "nor was the leaf's SQLite harmed");

    t.match(await lab("ssh", "node-1", "hostname"), { code: 0, said: "node-1\n" });
    const second = await lab("--hosts", "6", "--yes");
    t.match(second, { code: 1, said: /is up already/ }, "a lab that is up is not cleared by the next");

    t.equal((await lab("down")).code, 0);
    t.notOk(existsSync(`/var/lib/belay-lab/${NAME}`), "no folder");
    t.notMatch(await readFile("/proc/self/mountinfo", "utf8"), `/belay-lab/${NAME}/`, "no mount");
    t.not((await run(["ip", "link", "show", bridgeOf(NAME)])).code, 0, "no bridge");
    t.notOk(existsSync(memoryGroupsOf(NAME)), "no memory group");
    t.not((await run(["pgrep", "-f", "--", `--machine ${NAME}-`])).code, 0, "no process");
  },
);

t.test(
  "a lab that was killed is cleared by `down`, one that is interrupted clears up after itself",
  { timeout: PATIENCE_MS, skip: whyNoHosts() ?? false },
  async (t) => {
    t.teardown(() => lab("down"));
    for (const signal of ["SIGKILL", "SIGTERM"] as const) {
      const argv = [process.execPath, "--import=tsx", "scripts/lab/main.ts", "--hosts", "6", "--name", NAME];
      const child = spawn(...unhooked(argv), { cwd: ROOT, stdio: "ignore" });
      const ended = new Promise((resolve) => child.once("close", resolve));
      while (!(await isBooting()) && child.exitCode === null) await sleep(LOOK_AGAIN_MS);
      t.equal(child.exitCode, null, "it is in the middle of booting hosts");
      child.kill(signal);
      await ended;
      if (signal === "SIGKILL") t.equal((await lab("down")).code, 0);
      t.notOk(existsSync(`/var/lib/belay-lab/${NAME}`), `${signal}: no folder`);
      t.notMatch(await readFile("/proc/self/mountinfo", "utf8"), `/belay-lab/${NAME}/`, `${signal}: no mount`);
      t.not((await run(["ip", "link", "show", bridgeOf(NAME)])).code, 0, `${signal}: no bridge`);
      t.notOk(existsSync(memoryGroupsOf(NAME)), `${signal}: no memory group`);
      t.not((await run(["pgrep", "-f", "--", `--machine ${NAME}-`])).code, 0, `${signal}: no process`);
    }
  },
);

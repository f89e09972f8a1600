import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { must, run } from "../../scripts/lab/host/command.js";
import { clear, clearLeftBehind, Hosts, whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { memoryGroupsOf } from "../../scripts/lab/host/memory.js";
import { unhooked } from "../support/unhooked.js";
import { labName } from "./scene.js";

/** The first may have the hosts' base image to build. */
const PATIENCE_MS = 20 * 60_000;
const ROOT = fileURLToPath(new URL("../../", import.meta.url));

t.setTimeout(PATIENCE_MS);

/** A process of its own that has a host up, and works with it until it is killed. */
async function maker(t: Test, name: string): Promise<ChildProcess> {
  const program = `
    import { Hosts } from "${ROOT}scripts/lab/host/hosts.ts";
    const hosts = await Hosts.open(${JSON.stringify(name)}, () => {});
    await hosts.boot([{ name: "one" }]);
    console.log("up");
    setInterval(() => {}, 1_000);
  `;
  const argv = [process.execPath, "--import=tsx", "--input-type=module", "--eval", program];
  const child = spawn(...unhooked(argv), { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  t.teardown(async () => {
    child.kill("SIGKILL");
    await clear(name);
  });
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  t.equal(line, "up");
  return child;
}

/** What of it is on this machine: processes, mounts, its memory groups. */
async function traces(name: string): Promise<string[]> {
  const mounts = (await readFile("/proc/self/mountinfo", "utf8"))
    .split("\n")
    .filter((line) => line.includes(`/${name}/`));
  const nspawns = (await run(["pgrep", "--full", "--list-full", `systemd-nspawn.*/${name}/`])).stdout.split("\n");
  const groups = existsSync(memoryGroupsOf(name)) ? [memoryGroupsOf(name)] : [];
  return [...mounts, ...nspawns, ...groups].filter((line) => line !== "");
}

t.test(
  "hosts of a process that was killed are known as left behind and cleared; those of one that works are not touched",
  { skip: whyNoHosts() ?? false },
  async (t) => {
    const [killed, working] = [labName("killed"), labName("working")];
    const child = await maker(t, killed);
    await maker(t, working);
    t.notSame(await traces(killed), []);
    await clearLeftBehind();
    t.notSame(await traces(killed), [], "not while it works");
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
    t.notSame(await traces(killed), [], "its host goes on without it");
    t.equal(await Hosts.standing(killed), "left behind");
    const said = await must([process.execPath, "--import=tsx", `${ROOT}scripts/lab/main.ts`, "down", "--left-behind"]);
    t.match(said, `lab ${killed} is down`);
    t.same(await traces(killed), []);
    t.equal(await Hosts.standing(killed), "none");
    t.equal(await Hosts.standing(working), "at work");
    t.notSame(await traces(working), []);
  },
);

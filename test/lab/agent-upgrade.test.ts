import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { AGENT_VERSION } from "@belay/agent";
import t, { type Test } from "tap";
import { whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { labPackages } from "../../scripts/lab/packages.js";
import { LAB_NODE } from "../../scripts/lab/teleport.js";
import { type AgentBehaviour, buildAgent } from "../support/agents/build-agent.js";
import { isAtFailure, until } from "../support/real-fleet/index.js";
import { LabScene, PATIENCE_MS } from "./scene.js";
import { empty, fill, ROOM } from "./small-disk.js";

t.setTimeout(PATIENCE_MS);

const GOOD = "0.2.0";
const STEP_MS = 3 * 60_000;
/** A host whose agents lie on a small disk of their own. */
const SMALL = "node-1";
const DISK = { at: "/opt/belay/agent", mebibytes: 500 };

t.test(
  "agents from their packages go to a new version, one of them through a power cut; bad ones are undone by their hosts (I8, I14)",
  { timeout: PATIENCE_MS, skip: whyNoHosts() ?? false },
  async (t) => {
    const scene = await LabScene.open(t, "agents", {
      hosts: 6,
      version: "5.4.2",
      releases: [],
      policy: { settle: "1s", sections: { rollout: { node: { canary: 1, batch: ["100%"] } } } },
      machines: { [SMALL]: { disk: DISK } },
    });
    const { lab } = scene;
    const names = lab.fleet.map(({ name }) => name);

    await publish(scene, (await labPackages(GOOD)).agentRelease);
    t.same(await agentsOf(scene), all(names, AGENT_VERSION));
    await fillsUp(t, scene);
    t.same(await agentsOf(scene), { ...all(names, AGENT_VERSION), [SMALL]: GOOD });
    const run = await upgradeTo(scene, GOOD);
    const canary = await untilSwitched(scene, run, GOOD);
    await lab.machine(canary).powerOff();
    await lab.machine(canary).boot();
    const done = await scene.leadToEnd(run);
    t.equal(done.result, "done");
    t.same(await agentsOf(scene), all(names, GOOD), `${canary} lost its power right after the link was switched`);
    for (const name of names) await scene.untilPresent(name, true);

    for (const [version, behaviour] of [
      ["0.2.1", "ends"],
      ["0.2.2", "hangs"],
    ] as const) {
      await t.test(`an agent that ${behaviour} once it is started`, async (t) => {
        await bad(t, scene, version, behaviour);
        t.same(await agentsOf(scene), all(names, GOOD));
      });
    }
    await scene.allRun(t, "5.4.2");
  },
);

/** An agent whose own disk is full when its time comes goes on as it is, and is upgraded once there is room. */
async function fillsUp(t: Test, scene: LabScene): Promise<void> {
  const { api } = scene;
  const run = await upgradeTo(scene, GOOD, [SMALL]);
  const { gate } = await scene.lead(run, "the gate of the agents", ({ gate }) => gate?.status === "open");
  let last = "";
  for (const filling of ["bytes", "inodes"] as const) {
    await fill(scene, SMALL, filling);
    if (last === "") await api.approve(run, gate?.gate ?? "");
    else await api.command(run, "retry");
    const failed = await scene.see(run, `a failure gate for want of ${filling}`, (view) => {
      return isAtFailure(view) && view.gate.gate !== last;
    });
    last = failed.gate?.gate ?? "";
    t.match(failed.failures.at(-1), { host: SMALL, error: { code: "disk-full" } }, `${filling} at the agent's upgrade`);
    t.match(failed.failures.at(-1)?.error.message, ROOM);
    t.equal((await agentsOf(scene))[SMALL], AGENT_VERSION, "the old one goes on");
    await empty(scene, SMALL);
  }
  await api.command(run, "retry");
  t.equal((await scene.leadToEnd(run)).result, "done");
}

/** Only the canary meets it, and its host is back on the old version by itself. */
async function bad(t: Test, scene: LabScene, version: string, behaviour: AgentBehaviour): Promise<void> {
  const { file } = await buildAgent(join(scene.lab.hosts.dir, "agents"), version, behaviour, LAB_NODE.node);
  await publish(scene, file);
  const run = await upgradeTo(scene, version);
  const failed = await scene.leadToFailure(run);
  const [failure] = failed.failures;
  t.match(failure?.error, { code: "agent-not-back" });
  const host = failure?.host ?? "";
  await scene.untilPresent(host, true);
  t.comment(`${host} was without an agent for ${await absenceMs(scene, host, run)} ms`);
  await scene.abort(run);
}

/** From the moment the old agent let go to its outcome, by the host's own journal. */
async function absenceMs(scene: LabScene, host: string, run: string): Promise<number> {
  const lines = (await journalOf(scene, host)).filter((line) => line.includes(`"step":"${run}/`));
  const at = (word: string) => Number(/"at":(\d+)\}$/.exec(lines.findLast((line) => line.includes(word)) ?? "")?.[1]);
  const ended = Number(/"endedAt":(\d+)/.exec(lines.findLast((line) => line.includes('"reverted"')) ?? "")?.[1]);
  return ended - at('"switching"');
}

async function publish({ api }: LabScene, file: string): Promise<void> {
  const content = await readFile(file);
  await api.addRelease(basename(file), createHash("sha256").update(content).digest("hex"), content);
}

async function upgradeTo({ api }: LabScene, version: string, limit?: readonly string[]): Promise<string> {
  const answer = await api.plan({ product: "belay-agent", to: version, ...(limit === undefined ? {} : { limit }) });
  if (!answer.ok) throw new Error(JSON.stringify(answer.blocked));
  return (await api.start(answer.plan.id)).id;
}

/** Approves the gate, and waits until the link of the first host leads to the new version. Says which host that is. */
async function untilSwitched(scene: LabScene, run: string, version: string): Promise<string> {
  const atGate = await scene.lead(run, "the gate of the agents", ({ gate }) => gate?.status === "open");
  await scene.api.approve(run, atGate.gate?.gate ?? "");
  let found = "";
  const switched = async () => {
    for (const [name, installed] of Object.entries(await linksOf(scene))) if (installed === version) found = name;
    return found !== "" || "none yet";
  };
  await until(switched, `a host's link leads to ${version}`, STEP_MS);
  return found;
}

/** Where each host's link leads, by its own shell. */
async function linksOf({ lab }: LabScene): Promise<Record<string, string>> {
  const links = lab.fleet.map(async ({ name }) => {
    const link = await lab.machine(name).must(["readlink", "-f", "/opt/belay/agent/current"]);
    return [name, basename(link.trim())] as const;
  });
  return Object.fromEntries(await Promise.all(links));
}

/** The version of the program that runs under systemd as the agent of each host, asked over its shell. */
async function agentsOf({ lab }: LabScene): Promise<Record<string, string>> {
  const versions = lab.fleet.map(async ({ name }) => {
    const said = await lab.machine(name).shell(`
      systemctl is-active --quiet belay-agent
      "/proc/$(systemctl show --value -p MainPID belay-agent)/exe" --version
    `);
    return [name, /(\d+\.\d+\.\d+)/.exec(said)?.[1] ?? said] as const;
  });
  return Object.fromEntries(await Promise.all(versions));
}

async function journalOf({ lab }: LabScene, host: string): Promise<string[]> {
  return (await lab.machine(host).must(["cat", "/var/lib/belay-agent/journal"])).split("\n");
}

function all(names: readonly string[], version: string): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, version]));
}

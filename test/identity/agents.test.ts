import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { IdentityFile } from "@belay/agent";
import type { AuthorityView, HostView, IdentityView } from "@belay/controller/api/contract";
import t, { type Test } from "tap";
import { PortClaim } from "../support/fleet-on-disk/ports.js";
import { Program, until } from "../support/real-fleet/index.js";
import { unhooked } from "../support/unhooked.js";
import { type HostAtDoor, IdentityScene } from "./scene.js";

const AGENT = fileURLToPath(new URL("../../packages/agent/bin/belay-agent.js", import.meta.url));
const PATIENCE_MS = 60_000;

t.setTimeout(600_000);

/** Renewed after ten seconds: five are left for a busy machine. */
const SHORT_LIFE = "identity: { hostCertificateSeconds: 15 }\n";

interface OnDisk {
  readonly dir: string;
  readonly config: string;
}

/** A host's folder with agent.yaml and a token. */
async function hostOnDisk(t: Test, scene: IdentityScene, host: string): Promise<OnDisk> {
  const dir = await mkdtemp(join(tmpdir(), "belay-identity-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const [config, tokenFile] = [join(dir, "agent.yaml"), join(dir, "token")];
  await writeFile(tokenFile, await scene.token(host));
  await mkdir(join(dir, "state"));
  const lines = [`controller: ${scene.base}`, `host: ${host}`, `tokenFile: ${tokenFile}`, `stateDir: ${dir}/state`];
  await writeFile(config, `${lines.join("\n")}\n`);
  return { dir, config };
}

async function scenePort(t: Test, more = ""): Promise<IdentityScene> {
  const ports = new PortClaim();
  t.teardown(() => ports.release());
  return IdentityScene.open(t, more, await ports.next());
}

function untilPresent(scene: IdentityScene, hosts: readonly string[]): Promise<void> {
  const look = async () => {
    const views = (await scene.http.call("GET", "/v1/hosts")).body as unknown as HostView[];
    const missing = hosts.filter((name) => !views.some(({ host, present }) => host === name && present));
    return missing.length === 0 || missing.join();
  };
  return until(look, "agents are present", PATIENCE_MS);
}

async function identitiesOf(scene: IdentityScene): Promise<IdentityView[]> {
  return (await scene.http.call("GET", "/v1/agents/identities")).body as unknown as IdentityView[];
}

t.test(
  "real agents join, renew, and follow a rotation, while belayd is stopped and started",
  { timeout: 180_000 },
  async (t) => {
    const scene = await scenePort(t, SHORT_LIFE);
    const names = ["auth-1", "node-1"];
    const hosts = await Promise.all(names.map((name) => hostOnDisk(t, scene, name)));
    const agents = hosts.map(({ dir, config }, index) => {
      const program = new Program(
        `agent of ${names[index]}`,
        "packages/agent/bin/belay-agent.js",
        ["--config", config],
        join(dir, "log"),
      );
      t.teardown(() => program.stop());
      program.start();
      return program;
    });
    await untilPresent(scene, names);
    t.same(
      scene
        .told("host-joined")
        .map(({ host }) => host)
        .sort(),
      names,
    );

    await scene.http.restart();
    await untilPresent(scene, names);
    const renewals = (count: number) => async () => {
      const seen = scene.told("certificate-renewed").map(({ host }) => host);
      return names.every((name) => seen.filter((host) => host === name).length >= count) || seen.join();
    };
    await until(renewals(1), "every host renews", PATIENCE_MS);

    t.equal((await scene.say("/v1/authorities/rotate")).status, 200);
    const activated = async () => {
      const { status, body } = await scene.say("/v1/authorities/activate");
      return status === 200 || JSON.stringify(body);
    };
    await until(activated, "every host trusts the next authority", PATIENCE_MS);
    // What an agent was told is on its disk: killed now, it comes back.
    await agents[0]?.kill();
    agents[0]?.start();
    await scene.http.restart();
    await untilPresent(scene, names);
    const retired = async () => {
      const { status, body } = await scene.say("/v1/authorities/retire");
      return status === 200 || JSON.stringify(body);
    };
    await until(retired, "every host has shown a certificate of the new authority", PATIENCE_MS);
    const [only] = (await scene.http.call("GET", "/v1/authorities")).body as unknown as AuthorityView[];
    t.same(
      (await identitiesOf(scene)).map(({ host, issuer }) => [host, issuer]),
      names.map((name) => [name, only?.pin]),
    );
    await untilPresent(scene, names);
    t.same(scene.told("join-refused"), []);
    t.equal(scene.told("host-joined").length, 2, "nobody had to join anew");
  },
);

t.test("a revoked agent that finds a new token joins anew by itself", { timeout: 120_000 }, async (t) => {
  const scene = await scenePort(t);
  const { dir, config } = await hostOnDisk(t, scene, "node-1");
  const agent = new Program("agent", "packages/agent/bin/belay-agent.js", ["--config", config], join(dir, "log"));
  t.teardown(() => agent.stop());
  agent.start();
  await untilPresent(scene, ["node-1"]);
  await scene.say("/v1/agents/identities/node-1/revoke");
  const refused = async () => (await agent.log()).includes("certificate-revoked") || "not yet";
  await until(refused, "the agent's own log says why", PATIENCE_MS);
  await writeFile(join(dir, "token"), await scene.token("node-1"));
  await agent.stop();
  agent.start();
  await untilPresent(scene, ["node-1"]);
  t.same(
    (await identitiesOf(scene)).map(({ generation, revoked }) => [generation, revoked]),
    [[2, null]],
  );
});

t.test("belay-agent join and check-config say where this host stands", async (t) => {
  const scene = await IdentityScene.open(t);
  const { config } = await hostOnDisk(t, scene, "node-1");
  const run = (...args: string[]) => runAgent([...args, "--config", config]);
  t.match(await run("check-config"), { code: 0, stdout: /identity +to join acme at the first start/ });
  t.match(await run("join"), { code: 0, stdout: /node-1 has joined acme; its certificate lasts 10080 minutes/ });
  t.match(await run("check-config"), { code: 0, stdout: /identity +joined acme at 2/ });
  await writeFile(config, `controller: ${scene.base}\nhost: auth-1\nstateDir: ${config}-2\ntokenFile: /nowhere\n`);
  t.match(await run("join"), { code: 1, stderr: /token-missing/ });
});

async function runAgent(args: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return ended(unhooked([process.execPath, AGENT, ...args]));
}

async function ended([file, args]: [string, string[]]): Promise<{
  code: number | null;
  stdout: string;
  stderr: string;
}> {
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (text) => {
    stdout += text;
  });
  child.stderr.on("data", (text) => {
    stderr += text;
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

/** What makes something of a host's identity last. strace counts each of them for itself. */
const CALLS = ["fsync", "rename", "unlink", "mkdir"];

t.test(
  "killed between key and certificate, at each call that makes something last: a whole identity, or none yet (I14)",
  { timeout: 300_000, skip: spawnSync("strace", ["-V"]).error === undefined ? false : "there is no strace here" },
  async (t) => {
    const scene = await IdentityScene.open(t);
    const kills = new Map<string, number>();
    for (const call of CALLS) {
      for (let when = 1; ; when += 1) {
        const name = `${call}-${when}`;
        const host = await hostOnDisk(t, scene, name);
        if (!(await killedAt(call, when, host))) break;
        kills.set(call, when);
        const held = await new IdentityFile(join(host.dir, "state")).read();
        // Whoever was killed is started again, and goes on by itself.
        const again = held === null ? await runAgent(["join", "--config", host.config]) : null;
        t.equal(again?.code ?? 0, 0, `${name}: ${held === null ? "none yet" : "a whole one"} ${again?.stderr ?? ""}`);
        t.equal(await knock(scene, name, join(host.dir, "state")), "welcome");
      }
    }
    t.ok((kills.get("fsync") ?? 0) >= 4 && (kills.get("rename") ?? 0) >= 2, JSON.stringify([...kills]));
    t.same(scene.told("join-refused"), [], "no token was lost to a kill");
  },
);

/** False: there was no such call, and it has joined. */
async function killedAt(call: string, when: number, { config }: OnDisk): Promise<boolean> {
  const inject = ["-e", `trace=${call}`, "-e", `inject=${call}:signal=KILL:when=${when}`];
  const victim = [
    "strace",
    "-f",
    "-qq",
    "-o",
    "/dev/null",
    ...inject,
    process.execPath,
    AGENT,
    "join",
    "--config",
    config,
  ];
  // One thread does what Node leaves to threads: strace counts the calls of each for itself.
  const { code } = await ended(unhooked(["env", "UV_THREADPOOL_SIZE=1", ...victim]));
  return code !== 0;
}

async function knock(scene: IdentityScene, name: string, stateDir: string): Promise<string> {
  const host = await scene.again({ name, dir: stateDir } as HostAtDoor);
  return host.knock();
}

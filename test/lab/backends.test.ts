import { fileURLToPath } from "node:url";
import type { RestoreAnswer, RollbackAnswer } from "@belay/controller/api/contract";
import t, { type Test } from "tap";
import { copyInto } from "../../scripts/lab/belay.js";
import { whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { LAB_NODE } from "../../scripts/lab/teleport.js";
import { OPERATOR } from "../support/real-fleet/api.js";
import { isAtFailure } from "../support/real-fleet/index.js";
import { BUCKET, KEYS } from "../support/s3.js";
import { hooksThatRan, layOutHooks, SANDBOX, trouble } from "./hooks.js";
import { type Notes, notesInEtcd, notesInPostgres } from "./notes.js";
import { LabScene, PATIENCE_MS } from "./scene.js";
import { livesOf } from "./witness.js";

t.setTimeout(PATIENCE_MS);

const OLD = "5.4.2";
const PATCH = "5.4.3";
const NEW = "6.2.31";
const MAIN = ["auth-1", "auth-2", "proxy-1", "node-1"];
const S3_PROGRAM = fileURLToPath(new URL("../support/s3-server.mjs", import.meta.url));
const S3_PORT = 4568;
const S3_DIR = "/var/lib/lab-s3";
const BACKUPS = "/var/lib/belay-agent/backups";
const IDENTITY = "/etc/belay/identity";
const SETTLE = "1s";

t.test(
  "hooks, a layout of Teleport's own updater, and ways back to states in etcd and PostgreSQL, by a copy too (I4)",
  { timeout: PATIENCE_MS, skip: whyNoHosts() ?? false },
  async (t) => {
    const scene = await LabScene.open(t, "backends", {
      hosts: 6,
      version: OLD,
      releases: [{ version: PATCH }, { version: NEW }],
      policy: { settle: SETTLE },
      particulars: {
        "node-1": { layout: "default" },
        "eu-auth-1": { state: "postgresql", agent: { identityFile: IDENTITY } },
      },
    });
    await keepCopies(scene);
    const [root, leaf] = [notesInEtcd(scene), notesInPostgres(scene)];

    await obeysHooks(t, scene);
    const run = await crosses(t, scene, root);
    await restoresCopy(t, scene, leaf);
    await goesBack(t, scene, root, run);
  },
);

/** Copies of backups go to object storage on the control host, encrypted to the key that lies with the leaf's auth. */
async function keepCopies(scene: LabScene): Promise<void> {
  const { control } = scene.lab;
  const program = `${LAB_NODE.modulesFrom}/s3-server.mjs`;
  await copyInto(control, S3_PROGRAM, program);
  const credentialsFile = "/etc/belay/s3-credentials";
  await control.writeFile(credentialsFile, KEYS, 0o600);
  const endpoint = `http://127.0.0.1:${S3_PORT}`;
  await control.shell(`
    chown belay ${credentialsFile}
    systemd-run --quiet --unit=lab-s3 ${LAB_NODE.node} ${program} ${S3_DIR} ${BUCKET} ${S3_PORT}
    curl -s -o /dev/null --retry 50 --retry-delay 1 --retry-connrefused ${endpoint}
    cat >>/etc/belay/belayd.yaml <<END
backupStore: { kind: s3, endpoint: "${endpoint}", bucket: ${BUCKET}, prefix: lab, pathStyle: true, credentialsFile: ${credentialsFile} }
END
    systemctl restart belayd
  `);
  const recipient = await scene.machine("eu-auth-1").shell(`
    age-keygen -o ${IDENTITY} 2>/dev/null
    age-keygen -y ${IDENTITY}
  `);
  const backups = { copy: "belayd", recipients: [recipient.trim()] };
  await scene.policy({ settle: SETTLE, sections: { backups } });
  await scene.untilBelayd();
  for (const { name } of scene.lab.fleet) await scene.untilPresent(name, true);
}

/** A host's own hooks refuse, fail and delay its swap; its links are as its updater made them until one holds. */
async function obeysHooks(t: Test, scene: LabScene): Promise<void> {
  const machine = scene.machine("node-1");
  const links = () => machine.shell("cd /opt/teleport/default; readlink current /usr/local/bin/* || true; ls versions");
  const found = await links();
  t.match(found, `/opt/teleport/default/versions/${OLD}/bin/teleport\n`);
  await layOutHooks(machine);
  await trouble(machine, "stuck");
  const run = await scene.start(PATCH, ["node-1"]);
  const log = async () => (await scene.lab.belay(["log", run, "--host", "node-1"])).stdout;

  await scene.leadToFailure(run);
  const drained = ["pre-drain pre-drain", "drain 10-look", "drain 20-balancer"];
  t.same(await hooksThatRan(machine), [...drained, "undrain undrain"], "a drain that fails is taken back");
  t.match(
    await log(),
    /hook drain\.d\/20-balancer ends with 3: the balancer does not answer .*; hook undrain: back behind/,
  );
  t.same(await livesOf(machine), [OLD], "and nothing was touched");
  t.equal(await links(), `${found}${PATCH}\n`, "but for the version that was fetched");

  await trouble(machine, "sick");
  await scene.api.command(run, "retry");
  await scene.see(run, "another failure gate", (view) => isAtFailure(view) && view.failures.length === 2);
  const undone = ["undrain undrain", "post-revert post-revert"];
  t.same(await hooksThatRan(machine), [...drained, "post-health post-health", ...undone]);
  t.match(
    await log(),
    /was undone, hook post-health ends with 4: nobody can log in .*; hook post-revert: somebody was paged/,
  );
  await scene.runs(t, { "node-1": OLD });
  t.same(await livesOf(machine), [OLD, PATCH, OLD]);
  t.equal(await links(), `${found}${PATCH}\n`, "the links are those of Teleport's updater again");

  await trouble(machine, "busy");
  await scene.api.command(run, "retry");
  t.equal((await scene.leadToEnd(run)).result, "done");
  const served = ["post-health post-health", "undrain undrain"];
  t.same(await hooksThatRan(machine), ["pre-drain pre-drain", ...drained, ...served], "21 is asked again, by itself");
  const said = await log();
  t.match(said, /hook pre-drain says not yet: somebody is still logged in/);
  t.match(said, `drain on node-1 of teleport from ${OLD} to ${PATCH}`);
  for (const line of SANDBOX) t.match(said, line);
  t.match(said, /hook undrain: back behind the balancer/);
  t.equal((await machine.exec(["test", "-e", "/tmp/of-a-hook"])).code, 1, "its /tmp is the agent's own");
  await scene.runs(t, { "node-1": PATCH });
  t.match(
    await links(),
    `/opt/teleport/default/versions/${PATCH}\n/opt/teleport/default/current/bin/`,
    "one link leads",
  );
  await machine.shell("rm -r /etc/belay/hooks.d; find /etc /opt /usr/local/bin /var/lib -name of-a-hook -delete");
}

/** The root cluster goes over the point of no return, to its end. Answers the run. */
async function crosses(t: Test, scene: LabScene, root: Notes): Promise<string> {
  await root.write("before");
  const run = await startIn(scene, "main");
  await scene.leadToGate(run, "hop-1.main.auth");
  await root.write("at-the-gate");
  await scene.api.approve(run, "hop-1.main.auth");
  t.equal((await scene.leadToEnd(run)).result, "done");
  await root.write("since");
  await scene.runs(t, Object.fromEntries(MAIN.map((name) => [name, NEW])));
  t.same([await root.version(), await root.formats()], [NEW, [6]], "etcd holds what the old version can't read");
  t.match(
    await scene.machine("node-1").shell("readlink -f /usr/local/bin/teleport; ls /opt/teleport/default/versions"),
    `/opt/teleport/default/versions/${NEW}/bin/teleport\n`,
  );
  return run;
}

/** The leaf's auth crosses, loses all backups it has, and goes back by the copy that left it. */
async function restoresCopy(t: Test, scene: LabScene, leaf: Notes): Promise<void> {
  const machine = scene.machine("eu-auth-1");
  await leaf.write("before");
  const run = await startIn(scene, "eu");
  await scene.leadToGate(run, "hop-1.eu.auth");
  await leaf.write("at-the-gate");
  await scene.leadToGate(run, "hop-1.eu.node");
  await leaf.write("since");
  await scene.runs(t, { "eu-auth-1": NEW, "eu-node-1": OLD });
  t.same([await leaf.version(), await leaf.formats()], [NEW, [6]], "PostgreSQL holds what the old version can't read");
  await scene.abort(run);

  const backup = `${run}.hop-1.eu-auth-1`;
  const copy = `head -c 21 $(find ${S3_DIR} -name '*${backup}.tar*._S3rver_object')`;
  t.match(await scene.lab.control.shell(copy), "age-encryption.org/v1", "what left the host is encrypted");
  await machine.shell(`rm -r ${BACKUPS}/*`);
  const answer = await types<RestoreAnswer>(scene, ["backup", "restore", "eu-auth-1", backup]);
  t.equal((await scene.leadToEnd(answer.run ?? JSON.stringify(answer))).result, "done");

  await isOld(t, leaf);
  t.same(await leaf.read(), ["before"], "and what was written since the backup is gone");
  await scene.runs(t, { "eu-auth-1": OLD, "eu-node-1": OLD });
  t.same(await livesOf(machine), [OLD, NEW, OLD]);
  t.match(await machine.shell(`ls ${BACKUPS}/${backup}`), "manifest.json", "the host has its backup back");
}

/** The run that took the root cluster over is rolled back: its auths start on their old version, with the state of then. */
async function goesBack(t: Test, scene: LabScene, root: Notes, run: string): Promise<void> {
  const answer = await types<RollbackAnswer>(scene, ["run", "rollback", run, "--scope", "run"]);
  t.equal((await scene.leadToEnd(answer.run ?? JSON.stringify(answer))).result, "done");
  await isOld(t, root);
  t.same(await root.read(), ["at-the-gate", "before"], "up to the moment when auth stopped, and nothing since");
  await scene.runs(t, { "auth-1": OLD, "auth-2": OLD, "proxy-1": OLD, "node-1": PATCH });
  t.same(await livesOf(scene.machine("auth-1")), [OLD, NEW, OLD]);
}

/** As the old version left it: in its format, with no event lost and none of the new version's. */
async function isOld(t: Test, state: Notes): Promise<void> {
  t.same([await state.version(), await state.formats()], [OLD, [5]], "the state is the old version's");
  const events = await state.audit();
  t.ok(events.length > 0, `${events.length} events`);
  const odd = events.filter(({ seq, version }, index) => seq !== index + 1 || version !== OLD);
  t.same(odd.slice(0, 3), [], "are one unbroken row, all of the old version's");
}

async function startIn({ api }: LabScene, cluster: string): Promise<string> {
  const answer = await api.plan({ to: NEW, clusters: [cluster] });
  if (!answer.ok) throw new Error(`blocked: ${JSON.stringify(answer.blocked)}`);
  return (await api.start(answer.plan.id)).id;
}

/** What belay answers to the operator on the control host. */
async function types<T>(scene: LabScene, args: readonly string[]): Promise<T> {
  const file = "/root/operator.token";
  await scene.lab.control.writeFile(file, await scene.api.tokenOf(OPERATOR), 0o600);
  return scene.lab.ask<T>([...args, "--reason", "trying it out", "--yes", "--token-file", file]);
}

import { run } from "../../lab/host/command.js";
import type { Machine } from "../../lab/host/machine.js";
import { DIAG } from "../../lab/teleport.js";
import { BIG_FILE, DATABASE, INSTALL, type LabScene, SETTLE_SECONDS, SHOWN, TO } from "./scene.js";
import { cutOverOf, type StageTimes } from "./times.js";

/** Looks that a watching script makes in a second. */
const LOOKS = 5;

const READY = `ready() {
  curl -fsS -m 2 -o /dev/null ${DIAG}/readyz 2>/dev/null &&
    curl -fsS -m 2 ${DIAG}/metrics 2>/dev/null | grep -q "version=\\"$1\\""
}`;

/** What somebody who knows the work writes by hand: the stage on one host, with no second thoughts. */
function stageScript({ url, sha256 }: LabScene["artifact"]): string {
  return `set -euo pipefail
${READY}
cd ${INSTALL}/versions
curl -fsS --cacert ${SHOWN}/ca --cert ${SHOWN}/certificate --key ${SHOWN}/key -o .stage.tgz ${url}
echo "${sha256}  .stage.tgz" | sha256sum --check --quiet
rm -rf .stage && mkdir .stage
tar -xzf .stage.tgz -C .stage --strip-components=1
mv .stage ${TO} && rm .stage.tgz
mkdir -p /var/backups/stage
cp -a /etc/teleport.yaml ${BIG_FILE} /var/backups/stage/
sqlite3 ${DATABASE} "VACUUM INTO '/var/backups/stage/sqlite.db'"
began=$(date +%s%3N)
ln -s ${INSTALL}/versions/${TO} ${INSTALL}/current.new
mv -T ${INSTALL}/current.new ${INSTALL}/current
systemctl restart teleport
until ready ${TO}; do sleep 0.05; done
ended=$(date +%s%3N)
for look in $(seq ${SETTLE_SECONDS * LOOKS}); do sleep ${1 / LOOKS}; ready ${TO}; done
echo "$began $ended"
`;
}

/** The least that a cut-over can be: no link, no look before or after. */
const BARE = `set -euo pipefail
${READY}
began=$(date +%s%3N)
systemctl restart teleport
until ready "$1"; do sleep 0.05; done
echo "$began $(date +%s%3N)"
`;

/** One ssh a host, all at once. */
export async function byShell(scene: LabScene): Promise<StageTimes> {
  const begun = performance.now();
  const spans = await onAll(scene, stageScript(scene.artifact), "");
  return { wholeMs: performance.now() - begun, ...cutOverOf(spans) };
}

/** A bare restart of what runs, on all at once. */
export async function byBareRestart(scene: LabScene, version: string): Promise<StageTimes> {
  const begun = performance.now();
  const spans = await onAll(scene, BARE, version);
  return { wholeMs: performance.now() - begun, ...cutOverOf(spans) };
}

function onAll(scene: LabScene, script: string, argument: string): Promise<(readonly [number, number])[]> {
  return Promise.all(scene.nodes.map((node) => onOne(scene, node, script, argument)));
}

async function onOne(scene: LabScene, node: Machine, script: string, argument: string) {
  const argv = ["ssh", ...scene.ssh, `root@${node.address}`, "bash", "-s", "--", argument];
  const { code, stdout, stderr } = await run(argv, { input: script });
  const [began, ended] = stdout.trim().split(" ").map(Number);
  if (code !== 0 || began === undefined || ended === undefined) {
    throw new Error(`the shell script fails on ${node.name} (${code}): ${stderr}${stdout}`);
  }
  return [began, ended] as const;
}

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BelayError, GATE_NAMESPACE } from "@belay/shared";
import type { GateView } from "../../api/contract.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { gateLines } from "../render/gate.js";
import { pageOf } from "../watch/display.js";
import { findGate } from "./gate-target.js";

interface ShowOptions {
  readonly run?: string;
  readonly export?: string;
}

export const gateShow: CommandSpec<ShowOptions> = {
  name: "show [run] [gate]",
  summary: "show a gate with its evidence; without names, the one that is open",
  options: [
    { flags: "--run <run>", about: "the run it belongs to" },
    { flags: "--export <dir>", about: "write what was signed there, for ssh-keygen to verify" },
  ],
  examples: [
    "belay gate show",
    "belay gate show hop-1.main.auth",
    "belay gate show latest hop-1.main.auth --json",
    "belay gate show latest hop-1.main.auth --export approvals",
  ],
  async run(session, options, args) {
    const { api } = await session.connect();
    const { run, gate } = await findGate(api, args, options.run);
    const view = await api.gate(run, gate);
    session.answer(view, () => gateLines(view, pageOf(session)));
    if (options.export !== undefined) {
      for (const file of await exportSigned(view, options.export)) {
        session.remark(`ssh-keygen -Y verify -n ${GATE_NAMESPACE} -f SIGNERS -I WHO -s ${file}.sig < ${file}`);
      }
    }
    return EXIT.ok;
  },
};

/** As stages are called (shared/approval.ts): a name that belayd gives must not lead out of the folder. */
const GATE_NAME = /^[a-z0-9][a-z0-9._-]{0,199}$/;

/**
 * Each statement to the byte as it was signed, its signature beside it. No file that is there is touched. Throws
 * `nothing-signed`, `gate-invalid`, `file-exists`.
 */
async function exportSigned({ gate, decisions }: GateView, dir: string): Promise<string[]> {
  const signed = decisions.flatMap((decision) => (decision.signed === undefined ? [] : [decision.signed]));
  if (signed.length === 0) throw new BelayError("nothing-signed", `nobody has signed for gate ${gate}`);
  if (!GATE_NAME.test(gate)) {
    throw new BelayError("gate-invalid", `belayd answers with a gate that can't be one: ${JSON.stringify(gate)}`);
  }
  await mkdir(dir, { recursive: true });
  const files: string[] = [];
  for (const [index, { statement, signature }] of signed.entries()) {
    const file = join(dir, `${gate}.${index + 1}.json`);
    await writeNew(file, statement);
    await writeNew(`${file}.sig`, signature);
    files.push(file);
  }
  return files;
}

async function writeNew(file: string, text: string): Promise<void> {
  await writeFile(file, text, { flag: "wx" }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== "EEXIST") throw cause;
    throw new BelayError("file-exists", `${file} is there already`, { hint: "Name another folder.", cause });
  });
}

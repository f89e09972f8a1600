import { logInFolder } from "../../audit/files.js";
import { givenKey, givenWitnesses } from "../../audit/given.js";
import { reportOf } from "../../audit/report.js";
import { verifyLog } from "../../audit/verify.js";
import { auditFilesOf } from "../audit-files.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";

interface VerifyOptions {
  readonly key?: string;
  readonly witness?: readonly string[];
}

export const auditVerify: CommandSpec<VerifyOptions> = {
  name: "verify [folder]",
  summary: "make the whole audit log's hashes anew, and compare (default: belayd's own log)",
  options: [
    { flags: "--key <key>", about: "the log's key, or a file that holds it; default: the one beside the log" },
    { flags: "--witness <files>", about: "checkpoints that hosts have seen (belay-agent checkpoint)", list: true },
  ],
  notes:
    "Exit codes: 0 the log is whole, 1 it is not. belay-audit-verify does the same of a folder, and is a program of its own.",
  examples: ["belay audit verify", "belay audit verify audit-2026-11 --witness node-7.checkpoint,db-1.checkpoint"],
  async run(session, { key, witness = [] }, [folder]) {
    const options = { key: await givenKey(key), witnesses: await givenWitnesses(witness) };
    const files = folder === undefined ? await auditFilesOf((await session.connect()).api) : await logInFolder(folder);
    const verdict = await verifyLog(files, options);
    session.answer(verdict, reportOf);
    return verdict.findings.length === 0 ? EXIT.ok : EXIT.error;
  },
};

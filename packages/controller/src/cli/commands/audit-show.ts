import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { auditEntryText } from "../render/audit.js";

export const auditShow: CommandSpec = {
  name: "show <entry>",
  summary: "show one entry of the audit log, by its number",
  examples: ["belay audit show 120", "belay audit show 120 --json"],
  async run(session, _options, [entry = ""]) {
    const { api } = await session.connect();
    session.answer(await api.auditEntry(entry), (found) => auditEntryText(found, session.style));
    return EXIT.ok;
  },
};

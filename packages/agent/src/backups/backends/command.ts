import { stat } from "node:fs/promises";
import type { CommandBackend } from "../../config-backend.js";
import { orMissing } from "../../durable.js";
import type { Host } from "../../host.js";
import { whatWasSaid } from "../../said.js";
import { COMMAND_TIMEOUT_MS, runWithPath } from "../command.js";
import type { Backend } from "./backend.js";

/** The owner's own programs, for what Belay doesn't know: DynamoDB, Firestore, a vendor's snapshot. */
export function commandBackend(name: string, config: CommandBackend, host: Host): Backend {
  return {
    engine: "command",
    from: `command ${config.backup[0]}`,
    measure: async () => null,
    async save(path, signal) {
      await runWithPath(config.backup, path, name, host, signal);
      return { tool: String(config.backup[0]), facts: {} };
    },
    async ailment(path, _, signal) {
      if (config.verify === null) return (await orMissing(stat(path)))?.size === 0 ? "is empty" : null;
      const { code, stderr } = await host.exec.run([...config.verify, path], {
        timeoutMs: COMMAND_TIMEOUT_MS,
        signal,
        keep: "last",
      });
      return code === 0 ? null : `is refused by ${config.verify[0]}: ${whatWasSaid(stderr, 500)}`;
    },
    restore: (path, _, signal) => runWithPath(config.restore, path, name, host, signal),
  };
}

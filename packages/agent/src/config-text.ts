import { readFile } from "node:fs/promises";
import { BelayError } from "@belay/shared";

/** What is in agent.yaml, or in a file that it names. Throws `config-unreadable`. */
export async function readConfigured(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new BelayError("config-unreadable", (error as Error).message, {
      hint: "name the file with --config, and let this user read it",
      context: { file },
    });
  }
}

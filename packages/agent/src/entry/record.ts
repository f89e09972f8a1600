import { readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BelayError, type Entry } from "@belay/shared";
import { makeDir, orMissing, syncDir, writeDurably } from "../durable.js";
import type { Standing } from "./look.js";

/** What a host was like when Belay adopted it: enough to put it back. */
export interface Adoption {
  entry: Entry;
  link: string;
  versionsDir: string;
  /** The version that was installed. */
  from: string;
  was: Standing[];
  /** The version's folder was made by the adoption. */
  made: boolean;
  /** The link was there before. */
  linked: boolean;
  /** What was on record of an adoption before this one: of names that lead through the link already. */
  earlier?: Adoption;
}

function fileOf(stateDir: string, service: string): string {
  return join(stateDir, "adopted", `${service}.json`);
}

/** Null: this service was never adopted. Throws `adoption-corrupt`. */
export async function recalledAdoption(stateDir: string, service: string): Promise<Adoption | null> {
  const file = fileOf(stateDir, service);
  const text = await orMissing(readFile(file, "utf8"));
  if (text === null) return null;
  try {
    const adoption = JSON.parse(text) as Adoption;
    if (Array.isArray(adoption.was) && typeof adoption.link === "string") return adoption;
  } catch {
    // Not JSON: the same complaint as below.
  }
  throw new BelayError("adoption-corrupt", `${file} does not say how this host was before`, {
    hint: "put plain files in place by hand: cp -a from the version's folder",
    context: { file },
  });
}

export async function rememberAdoption(stateDir: string, service: string, adoption: Adoption): Promise<void> {
  const file = fileOf(stateDir, service);
  await makeDir(dirname(file), 0o700);
  await writeDurably(file, `${JSON.stringify(adoption)}\n`, 0o600);
}

export async function forgetAdoption(stateDir: string, service: string): Promise<void> {
  const file = fileOf(stateDir, service);
  await rm(file, { force: true });
  await orMissing(syncDir(dirname(file)));
}

import { askEtcd, askPostgres } from "../../scripts/lab/states.js";
import { type ReadState, readEtcd, readPostgres } from "../support/states/index.js";
import type { LabScene } from "./scene.js";

/** A cluster's state on its server, past every auth: what the stand-in keeps, and notes that a test leaves beside it. */
export interface Notes extends ReadState {
  write(note: string): Promise<void>;
  /** Those that are there, sorted. */
  read(): Promise<string[]>;
}

export function notesInEtcd({ lab }: LabScene): Notes {
  const below = "/teleport/notes/";
  return {
    ...readEtcd((...args) => askEtcd(lab.control, args), "/teleport"),
    write: async (note) => void (await askEtcd(lab.control, ["put", `${below}${note}`, "written"])),
    read: async () => {
      const keys = await askEtcd(lab.control, ["get", "--prefix", "--keys-only", below]);
      return keys.split("\n").flatMap((key) => (key === "" ? [] : [key.slice(below.length)]));
    },
  };
}

export function notesInPostgres({ lab }: LabScene): Notes {
  const ask = (sql: string) => askPostgres(lab.control, sql);
  return {
    ...readPostgres(ask),
    write: async (note) => {
      await ask("CREATE TABLE IF NOT EXISTS notes (note text)");
      await ask(`INSERT INTO notes VALUES ('${note}')`);
    },
    read: async () => (await ask("SELECT note FROM notes ORDER BY note")).split("\n"),
  };
}

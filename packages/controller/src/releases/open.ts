import { join } from "node:path";
import { DeclaredFile } from "../declared.js";
import type { RecordStore } from "../store/records.js";
import { ArtifactStore } from "./artifacts.js";
import type { Catalogue } from "./catalogue.js";
import { parseCatalogue } from "./parse.js";
import { Shelf } from "./shelf.js";

const NO_RELEASES: Catalogue = { releases: [] };

/** Puts together all that is about releases. `file`: releases.yaml; null: nobody declares any. */
export async function openReleases(parts: {
  readonly dataDir: string;
  readonly file: string | null;
  readonly records: RecordStore;
  readonly now: () => number;
}): Promise<{ readonly artifacts: ArtifactStore; readonly shelf: Shelf }> {
  const { dataDir, file, records, now } = parts;
  const declared = file === null ? null : new DeclaredFile(file, parseCatalogue);
  const artifacts = new ArtifactStore(join(dataDir, "artifacts"));
  await artifacts.sweep();
  const shelf = new Shelf({ records, artifacts, now, declared: async () => (await declared?.read()) ?? NO_RELEASES });
  return { artifacts, shelf };
}

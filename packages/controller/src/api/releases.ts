import type { Artifact } from "../releases/catalogue.js";

export interface ReleaseView {
  readonly version: string;
  readonly blocked: string | null;
  readonly suspect: string | null;
  readonly artifacts: readonly (Artifact & { readonly stored: boolean })[];
}

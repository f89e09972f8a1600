import { build, type Plugin } from "esbuild";
import { ROOT } from "./source.js";

/** One bundled script, and the npm packages (as folders below the root) that went into it. */
export interface Bundle {
  file: string;
  packages: string[];
}

/** For builds under another version than the source says, which is how upgrades are tested. */
function saying(version: string): Plugin {
  return {
    name: "agent-version",
    setup({ onLoad }) {
      onLoad({ filter: /packages\/agent\/dist\/about\.js$/ }, () => ({
        contents: `export const AGENT_VERSION = ${JSON.stringify(version)};`,
      }));
    },
  };
}

/** The agent as one CommonJS script: the only kind that a single executable of this Node.js can start. */
export function bundleAgent(outfile: string, version: string): Promise<Bundle> {
  return bundle({ entry: "packages/agent/dist/main.js", outfile, format: "cjs", plugins: [saying(version)] });
}

/** A program of the controller as one module. better-sqlite3 stays outside: it looks for its addon beside itself. */
export function bundleController(entry: string, outfile: string): Promise<Bundle> {
  return bundle({
    entry: `packages/controller/dist/${entry}`,
    outfile,
    format: "esm",
    external: ["better-sqlite3"],
    banner:
      '#!/usr/lib/belay/node\nimport { createRequire as makeRequire } from "node:module";const require = makeRequire(import.meta.url);',
  });
}

async function bundle(options: {
  entry: string;
  outfile: string;
  format: "cjs" | "esm";
  external?: string[];
  plugins?: Plugin[];
  banner?: string;
}): Promise<Bundle> {
  const { metafile } = await build({
    entryPoints: [options.entry],
    outfile: options.outfile,
    // Whatever says where it came from says it relative to this, so that the folder of the build leaves no trace.
    absWorkingDir: ROOT,
    bundle: true,
    platform: "node",
    target: "node22",
    format: options.format,
    external: options.external ?? [],
    plugins: options.plugins ?? [],
    ...(options.banner === undefined ? {} : { banner: { js: options.banner } }),
    // Names stay, so that a stack can be read.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "none",
    metafile: true,
    logLevel: "error",
  });
  const inputs = Object.keys(metafile.inputs).sort();
  const folders = inputs.flatMap((path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []);
  return { file: options.outfile, packages: [...new Set(folders)] };
}

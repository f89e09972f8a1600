import { readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { stateDiagram, stateTable } from "../support/state-diagram.js";

const DOC = new URL("../../docs/run-states.md", import.meta.url);

const TEXT = `# The states of a run

Made from the table in \`packages/controller/src/run/phase.ts\`; a test compares them, and
\`UPDATE_DOCS=1 npx tap run test/run/states-doc.test.ts\` writes this file anew.

A run's state is a fold over its events. Where it stands, coarsely, is its phase:

- **between**: before, between and after stages
- **gated**: a gate between stages is open, with its evidence
- **working**: a stage is at work, batch by batch
- **draining**: a budget is passed; what is in flight may end, nothing else starts (I9)
- **failure**: a failure gate is open: retry, skip, roll back or abort
- **pausing**, **paused**: a person said stop; with steps in flight, and without (I12)
- **ending**: on the way to its end (aborted, denied, rolled back), waiting for what is in flight
- **ended**

\`\`\`mermaid
${stateDiagram()}
\`\`\`

Which event may come in which phase, and which phases it may lead to. An empty cell is refused, with a code that says why.
Most events must also fit the details: the right stage, the right host, enough approvals (\`transitions.ts\`).

${stateTable()}
`;

t.test("docs/run-states.md says what the code does", async (t) => {
  if (process.env.UPDATE_DOCS) writeFileSync(DOC, TEXT);
  t.equal(readFileSync(DOC, "utf8"), TEXT);
});

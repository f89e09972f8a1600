/** The agent's own version, as it says in hello, facts and `--version`. A test holds it to package.json. */
export const AGENT_VERSION = "0.1.0";

// `npm run verify`: format, lint, types, unused code, tests. The same as `npm test`, under the name people look for.
import "./test.mjs";

import { runTool } from '../harness/processes.js';
import { packModule } from './pack.js';

/** The folder is in the build folder, so the next build deletes the package. */
const FOLDER = 'dist';

await runTool(async () => {
  process.stdout.write(`${await packModule(FOLDER)}\n`);
  return 0;
});

import { findScenarios } from './scenarios/find-scenarios.js';
import { findImplementations } from './world/implementations.js';
import { World } from './world/world.js';

const [implementations, scenarios] = await Promise.all([findImplementations(), findScenarios()]);
const world = await World.start({ leaseSeconds: 2 });
for (const implementation of implementations) {
  await world.use(implementation);
  for (const scenario of scenarios) {
    await world.reset();
    const startedAt = performance.now();
    const { replies, held, sentence, captures, charges, unfinished } = await scenario.play(world);
    const seen = `${captures}/${charges}/${unfinished} ${Object.values(replies).join('+')}`;
    const ms = Math.round(performance.now() - startedAt);
    process.stdout.write(
      `${implementation.label} ${scenario.name} ${held ? 'held' : 'BROKEN'} ${seen} ${ms} ms: ${sentence}\n`,
    );
  }
}
await world.end();

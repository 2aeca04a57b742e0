import { sweep } from "./Debris.ts"

// What Debris starts when its own process is gone.
sweep()

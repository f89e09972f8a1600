#!/usr/bin/env node
import "../dist/audit/verify-main.js";

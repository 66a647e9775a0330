"""The collector port: guard, routes, problem documents."""

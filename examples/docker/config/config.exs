import Config

# The release step reads it, and puts the environment of this pool into the release.
config :erlang_python,
  pools: [
    [name: :default, workers: 1, python: {:uv, "python/pyproject.toml"}]
  ]

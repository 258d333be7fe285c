defmodule ErlangPython.TestPython do
  @moduledoc false
  # The interpreter of the development environment that the Makefile makes from the lock file, or the one of
  # another Python that `make test-pythons` names.

  @spec executable() :: Path.t()
  def executable do
    path =
      System.get_env("TESTED_PYTHON") ||
        Path.expand("../../.cache/venv/bin/python", __DIR__)

    if File.exists?(path), do: path, else: raise("#{path} is missing: run `make setup`")
  end
end

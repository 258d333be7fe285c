defmodule ErlangPython.TestPython do
  @moduledoc false
  # The interpreter of the development environment that the Makefile makes from the lock file.

  @spec executable() :: Path.t()
  def executable do
    path = Path.expand("../../.cache/venv/bin/python", __DIR__)
    if File.exists?(path), do: path, else: raise("#{path} is missing: run `make setup`")
  end
end

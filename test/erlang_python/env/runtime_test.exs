defmodule ErlangPython.Env.RuntimeTest do
  # Not async: the environment belongs to the whole node.
  use ExUnit.Case, async: false

  alias ErlangPython.Env.{Paths, Runtime}

  @variable "ERLANG_PYTHON_RUNTIME_DIR"

  setup do
    before = System.get_env(@variable)
    System.delete_env(@variable)

    on_exit(fn ->
      Application.delete_env(:erlang_python, :runtime_dir)
      if before, do: System.put_env(@variable, before), else: System.delete_env(@variable)
    end)
  end

  test "the root is named after the lock file" do
    hash = :sha256 |> :crypto.hash(File.read!(Paths.lock())) |> Base.encode16(case: :lower)
    assert Path.basename(Runtime.root()) == binary_part(hash, 0, 12)
    assert Runtime.root() =~ "/erlang_python/runtime/"
  end

  test "the configuration moves it, the environment variable wins" do
    name = Path.basename(Runtime.root())
    Application.put_env(:erlang_python, :runtime_dir, "/configured")
    assert Runtime.root() == "/configured/#{name}"
    System.put_env(@variable, "/from/variable")
    assert Runtime.root() == "/from/variable/#{name}"
  end

  test "the package's Python code is where paths say" do
    assert File.regular?(Paths.provision_script())
    assert File.regular?(Paths.lock())
  end
end

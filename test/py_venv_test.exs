defmodule PyVenvTest do
  use ErlangPython.PoolCase, async: false

  @moduletag :tmp_dir

  setup %{tmp_dir: dir} do
    # Other tests may have changed the path of one of its workers.
    :ok = Pool.restart(:default)
    on_exit(fn -> :ok = :py.deactivate_venv() end)
    path = Path.join(dir, "env")

    {_output, 0} =
      System.cmd(ErlangPython.TestPython.executable(), ["-m", "venv", "--without-pip", path])

    [packages] = Path.wildcard(Path.join(path, "lib/python*/site-packages"))
    name = "venv_#{System.unique_integer([:positive])}"
    File.write!(Path.join(packages, name <> ".py"), "x = 7\n")
    {:ok, path: path, packages: packages, name: name}
  end

  defp in_all(name), do: name |> import_it() |> :py_pool.broadcast() |> Enum.uniq()
  defp import_it(name), do: {:eval, "__import__('importlib').import_module('#{name}').x"}

  test "reaches all workers, and later ones, until it is deactivated", context do
    %{path: path, packages: packages, name: name} = context
    {:ok, before} = :py.venv_info()
    assert %{"active" => false, "venv_path" => :none, "site_packages" => :none} = before
    assert [{:error, {:ModuleNotFoundError, _}}] = in_all(name)

    assert :py.activate_venv(String.to_charlist(path)) == :ok
    assert in_all(name) == [{:ok, 7}]
    assert Pool.restart(:default) == :ok
    assert in_all(name) == [{:ok, 7}]

    assert {:ok, %{"active" => true, "venv_path" => ^path, "site_packages" => ^packages} = info} =
             :py.venv_info()

    assert packages in info["sys_path"]

    assert :py.deactivate_venv() == :ok
    assert :py.venv_info() == {:ok, before}
    assert [{:error, {:ModuleNotFoundError, _}}] = in_all(name)
    assert Pool.restart(:default) == :ok
    assert :py.venv_info() == {:ok, before}
    assert [{:error, {:ModuleNotFoundError, _}}] = in_all(name)
    assert :py.deactivate_venv() == :ok
  end

  test "what is none", %{path: path, tmp_dir: dir} do
    assert :py.activate_venv(path) == :ok
    nowhere = String.to_charlist(Path.join(dir, "nowhere"))
    assert :py.activate_venv(nowhere) == {:error, {:invalid_venv, nowhere}}
    assert :py.activate_venv(dir) == {:error, {:invalid_venv, dir}}
    assert :py.activate_venv(1) == {:error, :invalid_args}
    assert :py.activate_venv("a\0b") == {:error, :invalid_args}
    # The last good one stays, also for later workers.
    assert Pool.restart(:default) == :ok
    assert {:ok, %{"venv_path" => ^path}} = :py.venv_info()
  end

  test "add_path/1", %{tmp_dir: dir, name: name} do
    folder = Path.join(dir, "größe")
    File.mkdir_p!(Path.join(folder, "more"))
    File.write!(Path.join(folder, "more.pth"), "more\n")
    File.write!(Path.join([folder, "more", name <> ".py"]), "x = 8\n")
    assert :py.add_path(String.to_charlist(folder)) == :ok
    assert :py.add_path(folder) == :ok
    assert in_all(name) == [{:ok, 8}]
    assert Pool.restart(:default) == :ok
    assert in_all(name) == [{:ok, 8}]
    assert {:ok, %{"sys_path" => [^folder, more | _] = all}} = :py.venv_info()
    assert more == Path.join(folder, "more")
    assert Enum.count(all, &(&1 == folder)) == 1
    assert :py.add_path(:"") == {:error, :invalid_args}
  end
end

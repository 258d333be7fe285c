defmodule ErlangPython.ZMTP.SocketDirTest do
  use ExUnit.Case, async: true

  alias ErlangPython.ZMTP.SocketDir

  setup do
    base = Path.join("/tmp", "ep_test_#{System.unique_integer([:positive])}_#{System.pid()}")
    File.mkdir!(base)
    on_exit(fn -> File.rm_rf!(base) end)
    %{base: base}
  end

  test "is new, ours alone and named after this BEAM", %{base: base} do
    assert {:ok, one} = SocketDir.create(base)
    assert {:ok, two} = SocketDir.create(base)
    assert one.path != two.path
    assert Path.dirname(one.path) == base
    assert Path.dirname(one.socket_path) == one.path
    assert Path.basename(one.path) =~ ".#{System.pid()}."

    stat = File.stat!(one.path)
    assert Bitwise.band(stat.mode, 0o777) == 0o700
    assert stat.uid == one.uid

    assert SocketDir.remove(one) == :ok
    refute File.exists?(one.path)
    assert SocketDir.remove(one) == :ok
  end

  test "a default is short enough for a socket" do
    assert {:ok, dir} = SocketDir.create()
    assert byte_size(dir.socket_path) <= SocketDir.max_path()
    assert SocketDir.remove(dir) == :ok
  end

  test "a path of exactly the limit works, one more byte is a clear error", %{base: base} do
    {:ok, %{socket_path: path} = dir} = SocketDir.create(base)
    SocketDir.remove(dir)
    filler = SocketDir.max_path() - byte_size(path) - 1

    exact = Path.join(base, String.duplicate("d", filler))
    File.mkdir!(exact)
    assert {:ok, dir} = SocketDir.create(exact)
    assert byte_size(dir.socket_path) == SocketDir.max_path()
    assert {:ok, socket} = :gen_tcp.listen(0, ifaddr: {:local, dir.socket_path})
    :gen_tcp.close(socket)

    longer = exact <> "d"
    File.mkdir!(longer)
    assert {:error, message} = SocketDir.create(longer)
    assert message =~ "#{SocketDir.max_path()} bytes"
    assert message =~ longer
    assert File.ls!(longer) == []
  end

  test "a directory that can't be made is a clear error", %{base: base} do
    missing = Path.join(base, "missing")
    assert {:error, message} = SocketDir.create(missing)
    assert message =~ missing
    assert message =~ "no such file or directory"
  end

  describe "a start sweeps" do
    # The pid of a process that has ended.
    defp dead_pid do
      {pid, 0} = System.cmd("sh", ["-c", "echo $$"])
      String.trim(pid)
    end

    defp leftover(base, pid) do
      path = Path.join(base, "erlang_python.#{pid}.aaaaaaaa")
      File.mkdir!(path)
      path
    end

    test "what a dead BEAM left, and nothing else", %{base: base} do
      pid = dead_pid()
      dead = leftover(base, pid)
      {:ok, socket} = :gen_tcp.listen(0, ifaddr: {:local, Path.join(dead, "zmq")})
      :gen_tcp.close(socket)
      assert File.ls!(dead) == ["zmq"]

      kept = [
        leftover(base, System.pid()),
        leftover(base, "x"),
        leftover(base, "-1"),
        Path.join(base, "erlang_python.#{pid}.file"),
        Path.join(base, "other.#{pid}.aaaaaaaa")
      ]

      for path <- Enum.drop(kept, 3), do: File.write!(path, "")

      assert {:ok, fresh} = SocketDir.create(base)
      refute File.exists?(dead)
      for path <- [fresh.path | kept], do: assert(File.exists?(path))
    end

    test "not through a link", %{base: base} do
      precious = Path.join(base, "precious")
      File.mkdir!(precious)
      File.ln_s!(precious, Path.join(base, "erlang_python.#{dead_pid()}.aaaaaaaa"))
      assert {:ok, _dir} = SocketDir.create(base)
      assert File.dir?(precious)
    end

    # A BEAM of another pid namespace that shares the directory
    test "not where somebody listens", %{base: base} do
      path = leftover(base, dead_pid())
      {:ok, socket} = :gen_tcp.listen(0, ifaddr: {:local, Path.join(path, "zmq")})
      assert {:ok, _dir} = SocketDir.create(base)
      assert File.exists?(path)
      :gen_tcp.close(socket)
    end
  end
end

defmodule ErlangPython.ZMTP.Router.StartTest do
  # The options of a router, and the directory of its socket.
  # Not async: log lines are counted, and others' would be among them.
  use ExUnit.Case, async: false

  import ErlangPython.ZMTPHandler, only: [start_router: 1]

  alias ErlangPython.ZMTP.Router
  alias ErlangPython.ZMTPHandler

  @moduletag :capture_log

  describe "start_link/1" do
    test "wrong options are named" do
      assert_raise ArgumentError, ~r/:handler/, fn -> Router.start_link([]) end

      assert_raise ArgumentError, ~r/:max_frames: 0/, fn ->
        Router.start_link(handler: ZMTPHandler, max_frames: 0)
      end

      assert_raise ArgumentError, ~r/unknown keys \[:nme\]/, fn ->
        Router.start_link(handler: ZMTPHandler, nme: 1)
      end
    end

    test "the directory has mode 0700 and is gone after a stop" do
      {:ok, router} = Router.start_link(handler: ZMTPHandler, handler_arg: %{test: self()})
      "ipc://" <> path = Router.endpoint(router)
      assert Bitwise.band(File.stat!(Path.dirname(path)).mode, 0o777) == 0o700
      GenServer.stop(router)
      refute File.exists?(Path.dirname(path))
    end

    test "what a killed BEAM left is swept by the next start" do
      base = Path.join("/tmp", "ep_killed_#{System.pid()}")
      File.mkdir!(base)
      on_exit(fn -> File.rm_rf!(base) end)

      script = """
      {:ok, router} = #{inspect(Router)}.start_link(handler: Any, socket_dir: #{inspect(base)})
      IO.puts(#{inspect(Router)}.endpoint(router))
      IO.read(:line)
      """

      beam =
        Port.open({:spawn_executable, System.find_executable("elixir")}, [
          :binary,
          :exit_status,
          line: 1_000,
          args: ["-pa", Path.dirname(:code.which(Router)), "-e", script]
        ])

      assert_receive {^beam, {:data, {:eol, "ipc://" <> path}}}, 30_000
      [left] = File.ls!(base)
      assert Path.dirname(path) == Path.join(base, left)
      ["erlang_python", os_pid, _random] = String.split(left, ".")

      router = start_router(socket_dir: base)
      assert left in File.ls!(base)
      stop_supervised!(Router)
      refute Process.alive?(router)

      {_, 0} = System.cmd("kill", ["-9", os_pid])
      assert_receive {^beam, {:exit_status, _status}}, 30_000
      assert File.ls!(base) == [left]
      start_router(socket_dir: base)
      assert length(File.ls!(base)) == 1
      refute left in File.ls!(base)
    end

    test "a path that is too long is a clear error" do
      Process.flag(:trap_exit, true)
      dir = "/tmp/" <> String.duplicate("d", 100)
      assert {:error, message} = Router.start_link(handler: ZMTPHandler, socket_dir: dir)
      assert message =~ "choose a shorter directory"
    end
  end
end

defmodule ErlangPython.CodeLoadingTest do
  # Modules that are loaded anew while their processes run. Who stays in the old code dies when it is purged.
  # Not async: the modules are everybody's.
  use ErlangPython.PoolCase, async: false

  import ExUnit.CaptureLog

  alias ErlangPython.Pool.Directory
  alias ErlangPython.Worker.Printer
  alias ErlangPython.ZMTP.{Reader, Writer}

  test "readers, writers and printers go on in the new code" do
    pool = start_pool(workers: 1, stdout: :logger)
    {_generation, worker, writer} = Directory.worker(handle(pool), 1)
    %{readers: readers, printing: %{printer: printer}} = :sys.get_state(worker)
    [reader] = for {_ref, {:main, reader}} <- readers, do: reader
    processes = [{Reader, reader}, {Writer, writer}, {Printer, printer}]

    for {module, _pid} <- processes do
      {^module, code, file} = :code.get_object_code(module)
      {:module, ^module} = :code.load_binary(module, file, code)
    end

    for {module, pid} <- processes, do: assert(:erlang.check_process_code(pid, module))
    log = capture_log(fn -> say(pool, "hello") end)
    assert log =~ "hello"
    assert ErlangPython.eval("1 + 1", %{}, pool: pool) == {:ok, 2}

    for {module, pid} <- processes,
        do: eventually(fn -> refute :erlang.check_process_code(pid, module) end)
  end

  defp say(pool, text) do
    ErlangPython.exec!("print(text, flush=True)", %{text: text}, pool: pool)
    {_generation, worker, _writer} = Directory.worker(handle(pool), 1)
    eventually(fn -> assert :sys.get_state(worker).printing.waiting == 0 end)
    Logger.flush()
  end
end

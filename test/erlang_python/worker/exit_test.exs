defmodule ErlangPython.Worker.ExitTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Worker.Exit

  defp exit_info(fields),
    do: Map.merge(%{status: nil, cause: nil, os_pid: 7, output: []}, Map.new(fields))

  @endings [
    {[status: 139], "was killed by signal 11 (SIGSEGV)", %{signal: 11}},
    {[status: 137], "was killed by signal 9 (SIGKILL: by hand, or out of memory)", %{signal: 9}},
    {[status: 3], "exited with status 3", %{status: 3}},
    {[status: 255], "exited with status 255", %{status: 255}},
    {[], "ended", %{}}
  ]

  for {fields, text, details} <- @endings do
    test "#{inspect(fields)} #{text}" do
      error = Exit.lost(exit_info(unquote(fields)), :running)
      assert error.kind == :worker_exit
      assert error.executed == :maybe
      assert error.message =~ unquote(text)
      assert error.message =~ "OS process 7"
      assert Map.delete(error.details, :output) == unquote(Macro.escape(details))
    end
  end

  test "a worker that the pool killed says why" do
    error =
      Exit.lost(
        exit_info(status: 137, cause: {:worker_exit, "did not stop within 5 ms"}),
        :running
      )

    assert error.message =~ "was killed because it did not stop within 5 ms"

    assert Exit.lost(exit_info(cause: {:protocol, "broke the wire protocol"}), :ended).kind ==
             :protocol
  end

  test "a crash says in its message what Python printed, or how to see where it was" do
    assert Exit.lost(exit_info(status: 139), :running).message =~
             ~s|(with `env: %{"PYTHONFAULTHANDLER" => "1"}` the pool shows in which line)|

    told = Exit.lost(exit_info(status: 139, output: ["Fatal", "  line 3"]), :running).message
    assert told =~ "while it ran this request; its last output:\n  Fatal\n    line 3"
    refute told =~ "PYTHONFAULTHANDLER"
    refute Exit.lost(exit_info(status: 137), :running).message =~ "PYTHONFAULTHANDLER"
  end

  test "a worker that was not ready in time says so once" do
    exit = exit_info(cause: {:worker_exit, "was not ready within 5 ms (:start_timeout)"})

    assert Exit.not_started(exit, "/bin/python3").message ==
             "a Python worker could not start: /bin/python3 was killed because it was not ready " <>
               "within 5 ms (:start_timeout)"
  end

  test "a worker that never was ready shows what it printed" do
    exit = exit_info(status: 1, output: ["Traceback", "ImportError: no"])
    error = Exit.not_started(exit, "/bin/python3")
    assert error.kind == :no_workers
    assert error.executed == :no
    assert error.message =~ "/bin/python3 exited with status 1 before it was ready"
    assert error.message =~ "  ImportError: no"

    error = Exit.not_started(exit_info(status: 0), "/bin/ls")
    assert error.message =~ "/bin/ls exited with status 0 before it was ready; is it a Python"
  end
end
